"""The process of ``tocsin bridge rabbit``: its probes and metrics."""
