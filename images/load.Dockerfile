# syntax=docker/dockerfile:1
# Load on a gateway: `twostage load`, and Locust with the people of tests/load. Context: the project's root.
#
#   docker build -f images/load.Dockerfile -t twostage/load:0.1.0 .
#
# The base may be given by digest: --build-arg PYTHON_IMAGE=python:3.11-slim-bookworm@sha256:…
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
# Locust, and the people and items of a store in S3.
ARG EXTRAS=load,store-s3
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY twostage twostage
COPY gateway gateway
COPY retrieval_service retrieval_service
COPY ranking_service ranking_service
COPY model_server model_server
COPY training training
# Without pip: what runs needs no installer. Bytecode is made here, because nothing can be written where it runs.
RUN --mount=type=cache,target=/root/.cache/pip \
    python -m venv --without-pip /opt/twostage && \
    pip --python /opt/twostage/bin/python install --compile --no-warn-script-location ".[${EXTRAS}]"

FROM ${PYTHON_IMAGE}
ARG PYTHON_IMAGE
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="twostage/load" \
      org.opencontainers.image.description="Twostage: load on a gateway" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${PYTHON_IMAGE}"
# The base brings the standard library without bytecode, which every start would make anew.
RUN python -m compileall -q -x '/(test|tests|lib2to3|site-packages)/' \
    "$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"
COPY --from=build /opt/twostage /opt/twostage
COPY tests/load/locustfile.py /opt/twostage/locustfile.py
ENV PATH=/opt/twostage/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    # Else `python -m` would look for modules in the folder it is started in.
    PYTHONSAFEPATH=1 \
    # Locust and libraries look for a home; nothing but /tmp may be written.
    HOME=/tmp
USER 10001:10001
WORKDIR /tmp
HEALTHCHECK NONE
CMD ["twostage", "load", "--help"]
