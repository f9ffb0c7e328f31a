"""The arms: programs that consume the same topics. Each is a module that is run as a process of its own."""
