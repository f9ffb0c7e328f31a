"""Every use of a private part of Faust or aiokafka, and every patch of them, each with a test.

What changes a whole process is called ``install_…``.
"""
