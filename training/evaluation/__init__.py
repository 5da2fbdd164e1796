"""Offline evaluation: metrics over full rankings, baselines, and the harness that compares models on one split.

Nothing in this room imports TensorFlow; what is heavy is imported by the function that needs it.
"""
