# Rei's images: docker build --target bot -t rei-bot .    (or worker, operator, sandbox)
#
# Builds with Docker and with buildah, on any Debian-like base that has a Python >= 3.11 as `python3`:
# Docker's own Python images as well as a bare Debian with Debian's Python. An image holds one part of
# Rei with its extra from uv.lock, and neither a compiler nor a package installer for Python.
ARG BASE=docker.io/library/python:3.13-slim-bookworm

# -- what all images stand on ------------------------------------------------------------------------
FROM ${BASE} AS base
# As process 1 Python would ignore SIGTERM until it has a handler, and nobody would reap the children
# that pg_dump leaves: tini passes signals on and reaps.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates tini \
    && rm -rf /var/cache/apt/* /var/lib/apt/lists/*

# -- Python packages, as uv.lock has them ------------------------------------------------------------
FROM base AS build
ARG UV_VERSION=0.13.9
RUN command -v pip >/dev/null || { \
        apt-get update && apt-get install -y --no-install-recommends python3-pip; }
RUN python3 -m pip install --no-cache-dir --target /opt/uv "uv==${UV_VERSION}"
ENV PATH=/opt/uv/bin:${PATH} \
    UV_COMPILE_BYTECODE=1 \
    UV_LINK_MODE=copy \
    UV_NO_CACHE=1 \
    UV_PROJECT_ENVIRONMENT=/opt/rei \
    UV_PYTHON=python3 \
    UV_PYTHON_DOWNLOADS=never \
    UV_SYSTEM_CERTS=1
WORKDIR /build
COPY pyproject.toml uv.lock ./
RUN uv sync --locked --no-dev --no-install-project

FROM build AS wheel
COPY LICENSE README.md ./
COPY src src
RUN uv build --wheel --out-dir /wheel

# The wheel has all parts; an image keeps its own.
FROM build AS build-bot
RUN uv sync --locked --no-dev --no-install-project --extra bot
COPY --from=wheel /wheel /wheel
RUN uv pip install --python /opt/rei --no-deps /wheel/*.whl \
    && cd /opt/rei/lib/python3*/site-packages && rm -r rei_worker rei_operator rei_sandbox

FROM build AS build-worker
RUN uv sync --locked --no-dev --no-install-project --extra worker
COPY --from=wheel /wheel /wheel
RUN uv pip install --python /opt/rei --no-deps /wheel/*.whl \
    && cd /opt/rei/lib/python3*/site-packages && rm -r rei_bot rei_operator rei_sandbox

FROM build AS build-operator
RUN uv sync --locked --no-dev --no-install-project --extra operator
COPY --from=wheel /wheel /wheel
RUN uv pip install --python /opt/rei --no-deps /wheel/*.whl \
    && cd /opt/rei/lib/python3*/site-packages && rm -r rei_bot rei_worker rei_telegram rei_sandbox

FROM build AS build-sandbox
RUN uv sync --locked --no-dev --no-install-project --extra sandbox
COPY --from=wheel /wheel /wheel
RUN uv pip install --python /opt/rei --no-deps /wheel/*.whl \
    && cd /opt/rei/lib/python3*/site-packages && rm -r rei_bot rei_worker rei_operator rei_telegram rei_http

# -- PostgreSQL's client tools -----------------------------------------------------------------------
# pg_dump must be at least as new as the server, and no Debian release has the newest: so it is built,
# from the sources as PostgreSQL publishes them, held by their hash. With TLS, which servers of a cloud
# ask for. POSTGRESQL_SOURCE may name any copy of the same bytes, a file:// too.
FROM base AS postgresql
ARG POSTGRESQL_VERSION=18.6
ARG POSTGRESQL_SHA256=555610c24d53e4316da5b7d3fc25c279d96856d5e0e23ee308c328c5fa881d9f
ARG POSTGRESQL_SOURCE=https://ftp.postgresql.org/pub/source/v${POSTGRESQL_VERSION}/postgresql-${POSTGRESQL_VERSION}.tar.bz2
RUN apt-get update && apt-get install -y --no-install-recommends \
        bison bzip2 flex gcc libc6-dev libssl-dev make perl pkg-config zlib1g-dev
WORKDIR /build
RUN python3 -c "import sys, urllib.request as u; u.urlretrieve(sys.argv[1], 'source')" "${POSTGRESQL_SOURCE}" \
    && echo "${POSTGRESQL_SHA256}  source" | sha256sum -c - \
    && tar -xjf source --strip-components=1
# pg_restore 17 and newer set a parameter that servers before 17 refuse, and so restore into none of
# them what they dumped from it. They know the server's version: it is set where it exists.
RUN sed -i 's/ahprintf(AH, "SET transaction_timeout = 0;/if (AH->public.remoteVersion == 0 || AH->public.remoteVersion >= 170000) &/' \
        src/bin/pg_dump/pg_backup_archiver.c \
    && grep -q 'remoteVersion >= 170000) ahprintf(AH, "SET transaction_timeout' src/bin/pg_dump/pg_backup_archiver.c
RUN ./configure --prefix=/opt/postgresql --with-ssl=openssl --without-icu --without-readline >/dev/null \
    && for part in interfaces/libpq bin/pg_dump bin/psql; do \
        make -s -j"$(nproc)" -C "src/${part}" install || exit 1; done \
    && strip /opt/postgresql/bin/* /opt/postgresql/lib/*.so.* \
    && rm -r /opt/postgresql/include /opt/postgresql/lib/*.a /opt/postgresql/lib/pkgconfig

# -- what runs ---------------------------------------------------------------------------------------
FROM base AS runtime
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.vendor="Rei" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# Docker's Python images bring pip: nothing is installed into a running Rei.
RUN rm -rf /usr/local/bin/pip* /usr/local/lib/python3*/site-packages/pip* /usr/local/lib/python3*/ensurepip
# Who asks for the user's name (libpq does) gets an answer.
RUN echo 'rei:x:10001:10001:Rei:/tmp:/usr/sbin/nologin' >>/etc/passwd && echo 'rei:x:10001:' >>/etc/group
# Nothing is written but below /tmp, so the root may be read-only.
ENV PATH=/opt/rei/bin:/opt/postgresql/bin:${PATH} \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
WORKDIR /tmp
USER 10001:10001
ENTRYPOINT ["tini", "--"]

FROM runtime AS bot
LABEL org.opencontainers.image.title="rei-bot"
COPY --from=build-bot /opt/rei /opt/rei
EXPOSE 8080 8082
CMD ["rei", "bot"]

FROM runtime AS worker
LABEL org.opencontainers.image.title="rei-worker"
COPY --from=build-worker /opt/rei /opt/rei
EXPOSE 8081
CMD ["rei", "worker"]

FROM runtime AS operator
LABEL org.opencontainers.image.title="rei-operator"
COPY --from=postgresql /opt/postgresql /opt/postgresql
COPY --from=build-operator /opt/rei /opt/rei
RUN pg_dump --version && pg_restore --version && psql --version
EXPOSE 8082
CMD ["rei", "operator"]

# For `helm test` and for trying Rei out; it never serves customers.
FROM runtime AS sandbox
LABEL org.opencontainers.image.title="rei-sandbox"
COPY --from=build-sandbox /opt/rei /opt/rei
EXPOSE 8090
CMD ["rei", "sandbox", "--host", "0.0.0.0"]
