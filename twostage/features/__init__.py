"""The feature schema and the encoders that training and serving both call."""
