"""How fast, against the floor: FAISS, LiteRT and TensorFlow alone."""

from twostage.rpc.environment import prefer_grpc_polling

# As every process of ours does, before gRPC is loaded.
prefer_grpc_polling()
