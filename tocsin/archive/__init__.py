"""What ``tocsin archive`` shows of itself: probes and metrics."""
