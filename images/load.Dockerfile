# syntax=docker/dockerfile:1
# Load on a gateway: `twostage load`, and Locust with the people of tests/load. Context: the project's root.
# A digest may be given: --build-arg PYTHON_IMAGE=python:3.13-slim@sha256:…
ARG PYTHON_IMAGE=python:3.13-slim

FROM ${PYTHON_IMAGE} AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY twostage twostage
COPY gateway gateway
COPY retrieval_service retrieval_service
COPY ranking_service ranking_service
COPY model_server model_server
COPY training training
# One wheel holds all rooms; what a room needs comes with its extra alone.
RUN python -m venv /opt/venv && /opt/venv/bin/pip install --no-cache-dir '.[load]'

FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="twostage/load" \
      org.opencontainers.image.description="Load on a Twostage gateway: twostage load, and Locust" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/venv /opt/venv
COPY tests/load/locustfile.py /opt/twostage/locustfile.py
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    # Locust and its server look for a home; nothing but /tmp may be written.
    HOME=/tmp
USER 10001:10001
WORKDIR /tmp
CMD ["twostage", "load", "--help"]
