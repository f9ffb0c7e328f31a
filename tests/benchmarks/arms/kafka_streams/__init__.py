"""Kafka Streams on a Java runtime: the Java program beside this, compiled at its first use."""
