# controller-admin: the pages of administration, for the API at CONTROLLER_API_URL. Built in the project's root:
#
#   docker build -f deploy/admin.Dockerfile -t netstacks/controller-admin .
#
# A build that can be repeated names the digest of the base: --build-arg BASE=python:3.13-slim-bookworm@sha256:...
ARG BASE=python:3.13-slim-bookworm

FROM ${BASE} AS built
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /venv
WORKDIR /source
COPY setup.cfg pyproject.toml constraints.txt LICENSE gunicorn.conf.py ./
COPY netstacks netstacks
COPY templates templates
COPY static static
# The same wheel as in controller-api.
RUN pip wheel --no-deps --wheel-dir /wheels . \
    && /venv/bin/pip install --constraint constraints.txt /wheels/*.whl \
    && /venv/bin/python -m compileall -q /venv/lib

FROM ${BASE}
ARG VERSION=0.2.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="NetStacks Controller Admin" \
      org.opencontainers.image.description="The pages of administration of NetStacks Controller" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
RUN useradd --system --uid 10001 --home-dir /nonexistent netstacks
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PORT=3000 LOG_FORMAT=json
COPY --from=built /venv /venv
WORKDIR /
USER 10001
EXPOSE 3000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(f'http://127.0.0.1:{os.environ[\"PORT\"]}/health', timeout=2)"]
ENTRYPOINT ["gunicorn"]
CMD ["-c", "python:netstacks.controller_admin.gunicorn_conf"]
