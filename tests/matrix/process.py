"""The rows of aborts, processes and connections, and the figures that people report.

Nothing that a server does shows them, so each has tests of its own.
"""

from __future__ import annotations

from tests.matrix.row import Row

__all__ = ["FIGURES", "ROWS"]

_END = "tests/end_to_end"
_PHASE = "the moment of the abort is the subject, not what a server does"
_PROCESS = "the process is the subject, not what a server does"
_THREADS = "what other threads do is the subject"

ROWS = (
    Row(
        name="kill-in-every-phase",
        does="kill in: TCP connect, TLS handshake, CONNECT, TLS in TLS, send, before headers, body, plain and TLS",
        observe="caller free at once; worker gone within 1 s wherever a socket exists",
        apart=_PHASE,
        tests=(
            f"{_END}/test_kill_phases.py::test_a_kill_frees_caller_and_worker_in_every_phase",
            "tests/transport/test_abort_plain.py::test_a_kill_in_the_body_frees_caller_and_worker",
            "tests/transport/test_abort_tls.py::test_a_kill_in_the_body_frees_caller_and_worker",
            "tests/transport/test_abort_proxy.py::test_a_kill_in_the_body_frees_caller_and_worker",
        ),
    ),
    Row(
        name="kill-of-a-busy-reader",
        does="kill while the reader is busy on TLS",
        observe="no ciphertext in any event",
        apart=_PHASE,
        tests=(
            "tests/transport/test_abort_ciphertext.py::test_every_byte_that_was_read_is_plaintext",
            f"{_END}/test_kill_verdict.py::test_a_kill_of_a_busy_reader_delivers_good_events_alone",
        ),
    ),
    Row(
        name="hanging-dns",
        does="a name look-up that hangs",
        observe="caller free at the limit; one orphan counted; no request sent when DNS answers later",
        apart="no server is reached",
        tests=(f"{_END}/test_connecting.py::test_a_hanging_resolver_frees_the_caller_at_connect",),
    ),
    Row(
        name="many-faulted-calls",
        does="10,000 faulted calls",
        observe="threads, descriptors and memory at the baseline, no `CLOSE_WAIT`",
        apart="a benchmark makes the 10,000 (`python -m tests.bench faulted_calls`), the test hundreds",
        tests=("tests/transport/test_abort_many.py::test_hundreds_of_kills_leave_nothing_behind",),
    ),
    Row(
        name="slow-consumer",
        does="the caller sleeps longer than every limit between events",
        observe="never killed; bounded memory",
        apart="the caller is the subject",
        tests=(
            f"{_END}/test_pace.py::test_a_slow_caller_is_never_killed",
            f"{_END}/test_pace.py::test_memory_stays_bounded_behind_a_slow_caller",
        ),
    ),
    Row(
        name="stopped-process",
        does="process stopped and continued (SIGSTOP, SIGCONT) with bytes waiting",
        observe="not killed",
        apart=_PROCESS,
        tests=(f"{_END}/test_processes.py::test_a_stopped_process_keeps_streams_with_waiting_bytes",),
    ),
    Row(
        name="wall-clock",
        does="wall clock set back and forth",
        observe="no effect on any limit",
        apart=_PROCESS,
        tests=(
            "tests/watch/test_clock.py::test_now_is_monotonic_and_wall_is_the_wall",
            f"{_END}/test_long_waits.py::test_the_wall_clock_moves_no_limit",
        ),
    ),
    Row(
        name="queued-events",
        does="several events queued at the moment of the kill",
        observe="delivered first, then the error",
        apart=_PHASE,
        tests=(f"{_END}/test_kill_verdict.py::test_what_was_queued_before_a_kill_is_delivered_first",),
    ),
    Row(
        name="leave-after-terminal",
        does="the caller leaves the block right after the terminal event",
        observe="the connection is reused by the next call",
        apart="the caller is the subject",
        tests=(f"{_END}/test_endings.py::test_a_connection_is_reused_right_after_the_terminal_event",),
    ),
    Row(
        name="cancel",
        does="token, `stream.cancel()`, `Client.close()` from another thread, in connect, wait, read and back-off",
        observe="`Cancelled` at once, `.by` right, nothing more is sent; a token set before sends nothing",
        apart=_THREADS,
        tests=(
            f"{_END}/test_cancel.py::test_a_cancellation_ends_a_waiting_or_reading_call_at_once",
            f"{_END}/test_cancel.py::test_a_cancellation_ends_a_back_off_at_once",
            f"{_END}/test_cancel.py::test_a_token_that_is_set_sends_nothing",
            f"{_END}/test_kill_phases.py::test_a_cancellation_frees_caller_and_worker_in_every_phase",
        ),
    ),
    Row(
        name="late-shutdown",
        does="a shutdown after the connection went back to the pool",
        observe="impossible: the next call on that socket is never cut",
        apart=_PHASE,
        tests=(
            f"{_END}/test_pooled_sockets.py::test_a_late_shutdown_never_cuts_the_next_call",
            "tests/transport/test_pool_late_kill.py::test_a_late_end_does_not_cut_the_next_call",
        ),
    ),
    Row(
        name="ctrl-c",
        does="Ctrl-C while waiting, reading, backing off",
        observe="`KeyboardInterrupt` within 0.2 s; connection shut; no retry",
        apart=_PROCESS,
        tests=(f"{_END}/test_interrupt.py::test_ctrl_c_is_raised_at_once_and_ends_the_call",),
    ),
    Row(
        name="fork",
        does="fork with a live stream and supervisor",
        observe="the child's calls are watched; the parent's stream goes on, also after the child exits",
        apart=_PROCESS,
        tests=(f"{_END}/test_processes.py::test_a_fork_leaves_the_stream_to_the_parent",),
    ),
    Row(
        name="exit",
        does="exit with a live stream",
        observe="the process ends at once, without a traceback",
        apart=_PROCESS,
        tests=(f"{_END}/test_processes.py::test_the_interpreter_exits_at_once_with_live_streams",),
    ),
    Row(
        name="hundred-threads",
        does="100 threads on one `Client` or `Session`",
        observe="right answers, no mixing",
        apart=_THREADS,
        tests=(
            f"{_END}/test_threads.py::test_many_threads_on_one_client_get_their_own_answers",
            "tests/session/test_threads.py::test_a_hundred_threads_on_one_session_get_their_own_answers",
        ),
    ),
    Row(
        name="context-variables",
        does="context variables set by the caller",
        observe="visible in callbacks and wrapped functions",
        apart="the caller is the subject",
        tests=(
            "tests/wrap/test_calling.py::test_the_function_sees_the_callers_context_variables",
            "tests/watch/test_attempt_steps.py::test_context_variables_are_visible_in_the_worker",
        ),
    ),
    Row(
        name="sink-or-hook",
        does="a sink or hook that raises or blocks",
        observe="the call is unharmed",
        apart="the program's own code is the subject",
        tests=(
            f"{_END}/test_notices.py::test_a_callback_or_sink_that_raises_is_logged",
            f"{_END}/test_dropped.py::TestSinks::test_a_blocking_sink_stops_neither_limits_nor_other_calls",
            "tests/safe_recovery/test_hook.py::test_a_hook_that_raises_is_logged_and_the_request_resent",
        ),
    ),
    Row(
        name="secrets",
        does="secrets in URL, headers, provider message",
        observe="nowhere in errors, logs, records",
        apart="what is kept is the subject",
        tests=(
            f"{_END}/test_secrets.py::test_no_secret_comes_out_of_a_failed_call",
            f"{_END}/test_secrets.py::test_no_secret_comes_out_of_a_failure_to_connect",
        ),
    ),
    Row(
        name="idle-socket",
        does="idle pooled socket older than the keep-alive limit",
        observe="not reused; the record says so",
        apart="the time between two calls is the subject",
        tests=(f"{_END}/test_pooled_sockets.py::test_a_pooled_connection_that_idled_too_long_is_not_reused",),
    ),
    Row(
        name="stacked-retries",
        does="our retry under an SDK's, an adapter's `max_retries`, a legacy loop",
        observe="exactly the documented number of HTTP requests",
        apart="the library's own retries are the subject",
        tests=(
            "tests/sdk/test_retry_loops.py::test_a_librarys_retry_does_not_multiply_a_failure",
            "tests/session/test_adapter_retries.py::test_resends_and_the_adapters_retries_do_not_multiply",
            "tests/session/test_retry_loops.py::test_a_users_own_loop_is_sent_each_time",
        ),
    ),
)

FIGURES = (
    Row(
        name="first-events",
        does="first events after 2-16 s, 35-53 s and 180-300 s; prefills of 1,180 s",
        observe="no default limit kills them",
        apart="the time is moved by hand",
        tests=(f"{_END}/test_long_waits.py::test_the_defaults_wait_for_reported_first_bytes",),
    ),
    Row(
        name="gaps",
        does="gaps of 32, 91 and 329 s inside healthy streams",
        observe="no default limit kills them",
        apart="the time is moved by hand",
        tests=(f"{_END}/test_long_waits.py::test_the_defaults_wait_for_reported_gaps",),
    ),
)
