"""Where the embedded server answers otherwise than was recorded, and why: docs/tfserving-differences.md argues each."""

from __future__ import annotations

_NEVER_HANGS = "a reload never hangs: a base path without a version is an error at once"
_NO_TRACE = "a refused reload leaves no trace: the next one is held against the configuration in force"
_NO_BATCHING = "--enable_batching is refused by name: merged requests of one row get each other's answers"
_NOT_HELD_BACK = "states say what is so: a request in flight holds back the end of its own version and nothing else"

KNOWN_DIFFERENCES: dict[str, str] = {
    "reload.missing_base": _NEVER_HANGS,
    "reload2.empty_base": _NEVER_HANGS,
    "reload_poison.after_fixed_z": _NO_TRACE,
    "reload_poison.empty_list": _NO_TRACE,
    "reload_poison.after_empty_list": _NO_TRACE,
    "reload_poison2.z_tensorflow": _NO_TRACE,
    "versions.unload_waits_for_inflight": _NOT_HELD_BACK,
    "versions.swap_held_by_other_model": _NOT_HELD_BACK,
    "sigterm.in_flight": "SIGTERM drains: calls in flight end well, and the exit code is 0",
    "startup.negative_poll": "a negative --file_system_poll_wait_seconds, which waits for ever, is refused by name",
    "startup.batching_file_without_flag": "--batching_parameters_file is refused by name, as --enable_batching is",
    **dict.fromkeys(
        (
            "batch.single",
            "batch.merge",
            "batch.full_at_once",
            "batch.too_large",
            "batch.scalar_output",
            "batch.empty",
            "batch.dtype_differs",
            "batch.poison",
            "batch.filter",
            "batch.deadline",
            "batch.queue_full",
            "batch.allowed_pad",
            "batch.allowed_scalar_out",
            "batch.pad_variable",
            "batch.params_allowed_last",
            "batch.params_zero",
            "batch.params_unknown_field",
            "batch.empty_threads",
        ),
        _NO_BATCHING,
    ),
}
