"""A model server in a process that can be killed: ``python model_server_process.py ADDRESS SECONDS VERSION``.

It answers every Predict after SECONDS with ``{"score": [VERSION]}`` as that version, and writes a line to standard
output when it listens and another for each call that begins.
"""

from __future__ import annotations

import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import numpy as np

from twostage.tfserving import messages
from twostage.tfserving.tensors import encode


def main(address: str, seconds: float, version: int) -> None:
    def predict(request: Any, _context: grpc.ServicerContext) -> Any:
        sys.stdout.write("call\n")
        sys.stdout.flush()
        time.sleep(seconds)
        response = messages.PredictResponse()
        response.model_spec.name = request.model_spec.name
        response.model_spec.version.value = version
        response.outputs["score"].CopyFrom(encode(np.array([version], np.float32)))
        return response

    class Handler(grpc.GenericRpcHandler):
        def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
            if handler_call_details.method != messages.PREDICT_METHOD:
                return None
            return grpc.unary_unary_rpc_method_handler(
                predict, messages.PredictRequest.FromString, messages.PredictResponse.SerializeToString
            )

    server = grpc.server(ThreadPoolExecutor(8), handlers=[Handler()])
    server.add_insecure_port(address)
    server.start()
    sys.stdout.write("listening\n")
    sys.stdout.flush()
    server.wait_for_termination()


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]))
