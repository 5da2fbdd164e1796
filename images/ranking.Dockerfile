# syntax=docker/dockerfile:1
# The ranking service: no TensorFlow, which runs beside it in an image of its own. Context: the project's root.
#
#   docker build -f images/ranking.Dockerfile -t twostage/ranking:0.1.0 .
#
# The base may be given by digest: --build-arg PYTHON_IMAGE=python:3.11-slim-bookworm@sha256:…
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
# Bundles from S3, and traces.
ARG EXTRAS=ranking,store-s3,tracing
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
LABEL org.opencontainers.image.title="twostage/ranking" \
      org.opencontainers.image.description="Twostage: ranking" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="${PYTHON_IMAGE}"
# The base brings the standard library without bytecode, which every start would make anew.
RUN python -m compileall -q -x '/(test|tests|lib2to3|site-packages)/' \
    "$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"
COPY --from=build /opt/twostage /opt/twostage
ENV PATH=/opt/twostage/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    # Else `python -m` would look for modules in the folder it is started in.
    PYTHONSAFEPATH=1 \
    # Libraries look for a home; nothing but /tmp may be written.
    HOME=/tmp
USER 10001:10001
WORKDIR /opt/twostage
EXPOSE 50052 9102
HEALTHCHECK NONE
CMD ["python", "-m", "ranking_service"]
