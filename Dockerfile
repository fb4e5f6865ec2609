# Any Python from 3.11 on. A release pins a digest: --build-arg PYTHON_IMAGE=…@sha256:…
ARG PYTHON_IMAGE=docker.io/library/python:3.13-slim-trixie

FROM ${PYTHON_IMAGE} AS build

# For builds behind a package mirror. Build arguments are limited to the stage that declares them, so
# none of these reaches the image. If certificates or a directory of packages are needed too, buildah and
# podman can mount them: --volume DIR:/mnt:ro --build-arg PIP_CONFIG_FILE=/mnt/pip.conf
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_TRUSTED_HOST
ARG PIP_CONFIG_FILE

WORKDIR /build

# Two environments, because the shipped one must contain neither pip nor hatchling.
COPY requirements/build.txt requirements/image.txt requirements/
RUN python -m venv /build/venv \
 && python -m venv --without-pip /opt/venv \
 && /build/venv/bin/pip install --no-cache-dir --no-deps --only-binary=:all: --require-hashes \
      --requirement requirements/build.txt \
 && /build/venv/bin/pip --python /opt/venv/bin/python install --no-cache-dir --no-compile \
      --no-deps --only-binary=:all: --require-hashes --requirement requirements/image.txt

COPY pyproject.toml README.md LICENSE ./
COPY exporter exporter
# Python does not check the bytecode against its source: on a read-only filesystem it could not replace
# it, and some builders change the times that the check compares.
RUN /build/venv/bin/pip wheel --no-index --no-deps --no-build-isolation --wheel-dir dist . \
 && /build/venv/bin/pip --python /opt/venv/bin/python install --no-index --no-compile --no-deps \
      dist/*.whl \
 && /opt/venv/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/venv/lib \
 && mkdir state


FROM ${PYTHON_IMAGE}

# Remove the base image's pip: nothing is installed at run time, and it would need security updates.
# Compile the standard library, which comes without bytecode: on a read-only filesystem, every health
# check would compile it again. Remove setuid and setgid bits (su, mount), because CapRover and swarm
# have no setting for no-new-privileges.
RUN if python -m pip --version >/dev/null 2>&1; then \
      python -m pip uninstall --yes --root-user-action=ignore pip \
       && rm -f /usr/local/bin/pip; \
    fi \
 && python -m compileall -q \
      -x '/(ensurepip|idlelib|lib2to3|pydoc_data|site-packages|tkinter|turtledemo|unittest)/' \
      "$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')" \
 && find / -xdev -type f -perm /6000 -exec chmod ug-s {} +

COPY --from=build /opt/venv /opt/venv
# The only path that is written to. With another --user, mount a directory of that user here.
COPY --from=build --chown=65532:65532 /build/state /var/lib/registry-storage-exporter

# TMPDIR: with a read-only root filesystem, SQLite finds no other directory for temporary files.
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    REGISTRY_EXPORTER_STORAGE_ROOT=/registry \
    TMPDIR=/var/lib/registry-storage-exporter \
    XDG_STATE_HOME=/var/lib

# A number, so that Kubernetes can verify that it is not root. By default everybody may read a
# registry's files (directories 0755, blobs 0644). If not, run with --user of their owner.
USER 65532:65532

EXPOSE 10996

HEALTHCHECK --interval=30s --timeout=10s --start-period=15s --retries=3 \
  CMD ["registry-storage-exporter", "healthcheck"]

ENTRYPOINT ["registry-storage-exporter"]
CMD ["serve"]

# Last, because they differ in every build and would invalidate the build cache of later steps.
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
