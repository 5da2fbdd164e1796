"""What is rendered from ``k8s/``, held against Kubernetes, the house rules and the program; see ``__main__``."""
