"""The frame of a thread is that of the function in which it is."""

from __future__ import annotations

import threading

from streams.upstream.running_code import frame_of


def test_the_frame_of_a_thread_is_found_while_it_runs() -> None:
    began, may_end = threading.Event(), threading.Event()

    def wait_here() -> None:
        began.set()
        may_end.wait(30)

    thread = threading.Thread(target=wait_here)
    thread.start()
    assert began.wait(30)
    frame, names = frame_of(thread.ident or 0), []
    while frame is not None:
        names.append(frame.f_code.co_name)
        frame = frame.f_back
    may_end.set()
    thread.join()
    assert "wait_here" in names
    assert frame_of(thread.ident or 0) is None
