"""An embedded model server: TensorFlow Serving's protocol and flags on the TensorFlow runtime in Python."""
