"""The flags of ``tensorflow_model_server`` 2.20 that this server does not take, and why.

A flag is refused by name unless it says what this server does anyway, so that a command line written for the real
server either means the same here or does not start. Source: ``tensorflow_serving/model_servers/main.cc``, and
``server.h`` for the defaults.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType


@dataclass(frozen=True)
class RefusedFlag:
    """A flag of the real server that is refused.

    Args:
        harmless: The values, in lower case, that ask for nothing beyond what this server does; none refuses every one.
        reason: Why another is refused.
    """

    harmless: tuple[str, ...]
    reason: str


_OFF = ("false", "0")
_ON = ("true", "1")
_EMPTY = ("",)
_BATCHING = (
    "batching on the server is not offered: it returns callers each other's rows where a batch holds one row of each, "
    "and one ranking request is a batch already"
)
_TFLITE = "only SavedModels run in TensorFlow are served"
_XLA = "graphs are run as they were exported, without XLA"

REFUSED: Mapping[str, RefusedFlag] = MappingProxyType(
    {
        "rest_api_enable_cors_support": RefusedFlag(_OFF, "the REST port serves probes and metrics, not browsers"),
        "enable_batching": RefusedFlag(_OFF, _BATCHING),
        "batching_parameters_file": RefusedFlag(_EMPTY, _BATCHING),
        "enable_per_model_batching_parameters": RefusedFlag(_OFF, _BATCHING),
        "tensorflow_session_config_file": RefusedFlag(
            _EMPTY, "threads are set by --tensorflow_intra_op_parallelism and --tensorflow_inter_op_parallelism"
        ),
        "use_alts_credentials": RefusedFlag(_OFF, "ALTS works inside Google's cloud only; use --ssl_config_file"),
        "platform_config_file": RefusedFlag(_EMPTY, "the only platform is tensorflow"),
        "per_process_gpu_memory_fraction": RefusedFlag(("0", "0.0"), "models run on the CPU"),
        "saved_model_tags": RefusedFlag(("serve", ""), "models are loaded by the tag serve"),
        "remove_unused_fields_from_bundle_metagraph": RefusedFlag(_ON, "the unused fields are never kept"),
        "prefer_tflite_model": RefusedFlag(_OFF, _TFLITE),
        "num_tflite_pools": RefusedFlag((), _TFLITE),
        "num_tflite_interpreters_per_pool": RefusedFlag((), _TFLITE),
        "xla_cpu_compilation_enabled": RefusedFlag(_OFF, _XLA),
        "xla_gpu_compilation_enabled": RefusedFlag(_OFF, _XLA),
        "enable_profiler": RefusedFlag(_OFF, "there is no profiler service; the real server has one unless told false"),
        "thread_pool_factory_config_file": RefusedFlag(_EMPTY, "TensorFlow's own thread pools are used"),
        "mixed_precision": RefusedFlag(_EMPTY, "graphs are run in the precision they were exported in"),
        "skip_initialize_tpu": RefusedFlag(_OFF, "models run on the CPU"),
    }
)
