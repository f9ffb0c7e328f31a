"""The web views from a process of their own: ``tocsin web``. It reads public topics, and writes nothing."""
