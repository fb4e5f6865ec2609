# Any Python from 3.11 will do. A release gives a digest: --build-arg PYTHON_IMAGE=…@sha256:…
ARG PYTHON_IMAGE=docker.io/library/python:3.13-slim-trixie

FROM ${PYTHON_IMAGE} AS build

# For builds behind a package mirror. Build arguments end with the stage that declares them, so none
# of these reaches the image. Where certificates or a directory of packages are needed too, buildah
# and podman mount them: --volume DIR:/mnt:ro --build-arg PIP_CONFIG_FILE=/mnt/pip.conf
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_TRUSTED_HOST
ARG PIP_CONFIG_FILE

WORKDIR /build

# Two environments, because the one that is shipped must hold neither pip nor hatchling.
COPY requirements/build.txt requirements/image.txt requirements/
RUN python -m venv /build/venv \
 && python -m venv --without-pip /opt/venv \
 && /build/venv/bin/pip install --no-cache-dir --no-deps --only-binary=:all: --require-hashes \
      --requirement requirements/build.txt \
 && /build/venv/bin/pip --python /opt/venv/bin/python install --no-cache-dir --no-compile \
      --no-deps --only-binary=:all: --require-hashes --requirement requirements/image.txt

COPY pyproject.toml README.md LICENSE ./
COPY exporter exporter
# The bytecode is not checked against its source: a read-only file system could not mend it, and
# some builders change the times that the check goes by.
RUN /build/venv/bin/pip wheel --no-index --no-deps --no-build-isolation --wheel-dir dist . \
 && /build/venv/bin/pip --python /opt/venv/bin/python install --no-index --no-compile --no-deps \
      dist/*.whl \
 && /opt/venv/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/venv/lib \
 && mkdir state


FROM ${PYTHON_IMAGE}

# The base image's own pip would only be one more thing to patch: nothing is installed at run time.
# Its standard library comes without bytecode, which nobody could write later: compiled here, once,
# or anew in every health check. And no program may lend root's rights (su, mount): CapRover and
# swarm have no setting for no-new-privileges.
RUN if python -m pip --version >/dev/null 2>&1; then \
      python -m pip uninstall --yes --root-user-action=ignore pip \
       && rm -f /usr/local/bin/pip; \
    fi \
 && python -m compileall -q \
      -x '/(ensurepip|idlelib|lib2to3|pydoc_data|site-packages|tkinter|turtledemo|unittest)/' \
      "$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')" \
 && find / -xdev -type f -perm /6000 -exec chmod ug-s {} +

COPY --from=build /opt/venv /opt/venv
# The only place that is written to. Under another --user, mount a directory of that user here.
COPY --from=build --chown=65532:65532 /build/state /var/lib/registry-storage-exporter

# TMPDIR: with a read-only root, SQLite finds no other directory for its temporary files.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    REGISTRY_EXPORTER_STORAGE_ROOT=/registry \
    TMPDIR=/var/lib/registry-storage-exporter \
    XDG_STATE_HOME=/var/lib

# By number, so that Kubernetes can tell that it is not root. A registry's files are readable for
# everybody (directories 0755, blobs 0644); where they are not, run with their owner's --user.
USER 65532:65532

EXPOSE 10996

HEALTHCHECK --interval=30s --timeout=10s --start-period=15s --retries=3 \
  CMD ["registry-storage-exporter", "healthcheck"]

ENTRYPOINT ["registry-storage-exporter"]
CMD ["serve"]

# Last, because they differ in every build and would spoil the cache of what follows them.
ARG CREATED
ARG REVISION
ARG SOURCE
ARG VERSION
LABEL org.opencontainers.image.title="registry-storage-exporter" \
      org.opencontainers.image.description="Prometheus exporter for the storage of a self-hosted Docker registry" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.created="${CREATED}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.version="${VERSION}"
