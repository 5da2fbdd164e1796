"""A gRPC server on a real socket that answers as a model server would in states that are hard to bring about."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from typing import Any

import grpc

from twostage.tfserving import messages

Answer = Callable[[Any, grpc.ServicerContext], Any]


def refuse(code: grpc.StatusCode, details: str) -> Answer:
    """An answer that is a status."""

    def answer(request: Any, context: grpc.ServicerContext) -> Any:
        context.abort(code, details)

    return answer


@contextmanager
def scripted_model_server(predict: Answer | None = None, status: Answer | None = None) -> Iterator[str]:
    """Runs the server and gives its address; what is not scripted is UNIMPLEMENTED."""
    methods = {
        messages.PREDICT_METHOD: (predict, messages.PredictRequest, messages.PredictResponse),
        messages.STATUS_METHOD: (status, messages.GetModelStatusRequest, messages.GetModelStatusResponse),
    }

    class Handler(grpc.GenericRpcHandler):
        def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
            answer, request, response = methods.get(handler_call_details.method, (None, None, None))
            if answer is None or request is None or response is None:
                return None

            def behave(question: Any, context: grpc.ServicerContext) -> Any:
                reply = answer(question, context)
                # As every model server does: it says who answered.
                if isinstance(reply, messages.PredictResponse) and not reply.HasField("model_spec"):
                    reply.model_spec.CopyFrom(question.model_spec)
                return reply

            return grpc.unary_unary_rpc_method_handler(behave, request.FromString, response.SerializeToString)

    server = grpc.server(futures.ThreadPoolExecutor(4), handlers=[Handler()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(0).wait()
