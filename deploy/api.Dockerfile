# controller-api: the API, the terminals and all pages. Built in the project's root:
#
#   docker build -f deploy/api.Dockerfile -t netstacks/controller-api .
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
# The wheel, as it is installed without containers; compiled here, to start faster from a read-only root.
RUN pip wheel --no-deps --wheel-dir /wheels . \
    && /venv/bin/pip install --constraint constraints.txt /wheels/*.whl \
    && /venv/bin/python -m compileall -q /venv/lib

FROM ${BASE}
ARG VERSION=0.2.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="NetStacks Controller API" \
      org.opencontainers.image.description="Terminals to network devices: recorded, shared and highly available" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
RUN useradd --system --uid 10001 --home-dir /nonexistent netstacks \
    && install -d -o netstacks -g netstacks -m 700 /var/lib/netstacks/spool
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    SPOOL_DIR=/var/lib/netstacks/spool LOG_FORMAT=json
COPY --from=built /venv /venv
COPY deploy/entrypoint deploy/systemd/netstacks-backup /usr/local/bin/
WORKDIR /
USER 10001
VOLUME /var/lib/netstacks/spool
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen(f'http://127.0.0.1:{os.environ.get(\"PORT\", 8080)}/api/v1/health/live', timeout=2)"]
ENTRYPOINT ["entrypoint"]
CMD ["gunicorn", "-c", "/venv/share/netstacks/gunicorn.conf.py"]
