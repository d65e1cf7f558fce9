# One image, two verbs: `docker run IMAGE train` and `docker run IMAGE serve`. Build it with `make image`.
#
#   BUILD_BASE ── python ─┬─ dependencies ── locked, with hashes ──┐
#                         ├─ torch ───────── CPU or CUDA build ────┤
#                         ├─ package ─────── our wheel ────────────┤
#                         └─ sbom ────────── lists what is there ──┤
#   BASE ────────────────────────────────── Python, no compiler ───┴─ image ─┬─ studio   (--target studio) JupyterLab
#                                                                            └─ final
#
# The parts are copied in the order in which they change least, so that a change of ours sends one small layer.
# docker/build sets BUILD_BASE only on a machine whose pip needs settings of its own (.ci/engine tells when).

ARG BASE=debian:bookworm-slim
ARG BUILD_BASE=debian:bookworm-slim
# cpu or cuda; the version is in docker/locks/torch.txt and is the same for both.
ARG TORCH_BUILD=cpu
# Where the CPU build comes from; the CUDA build is the default wheel of the default index.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ARG VERSION=0
ARG REVISION=unknown


FROM ${BUILD_BASE} AS python
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc libc6-dev python3-dev python3-venv \
    && rm -rf /var/lib/apt/lists/* \
    && python3 -m venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_COMPILE=1 \
    PIP_ROOT_USER_ACTION=ignore
COPY docker/trim /usr/local/bin/


FROM python AS dependencies
COPY docker/locks/runtime.txt /locks/
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --require-hashes -r /locks/runtime.txt \
    && trim /opt/venv/lib/python3.11/site-packages


# In a folder of its own that is laid over the environment at the end: both stages run at the same time, and torch
# is a layer by itself. Its dependencies are in runtime.txt, cuda.txt repeats them in the same versions.
FROM python AS torch
ARG TORCH_BUILD
ARG TORCH_INDEX
COPY docker/locks/torch.txt docker/locks/cuda.txt /locks/
RUN --mount=type=cache,target=/root/.cache/pip \
    if [ "$TORCH_BUILD" = cuda ]; then \
        pip install --no-deps --prefix /part/opt/venv --require-hashes -r /locks/cuda.txt; \
    else \
        pip install --no-deps --prefix /part/opt/venv --retries 1 --index-url "$TORCH_INDEX" -r /locks/torch.txt; \
    fi \
    && trim /part/opt/venv/lib/python3.11/site-packages


FROM dependencies AS package
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
    && pip install --no-deps --prefix /part/opt/venv /wheels/*.whl \
    && trim /part/opt/venv/lib/python3.11/site-packages \
    # For scripts that are not started by us, such as those of SDK v3.
    && printf '%s\n' twofold/train/site 'import twofold_settle' >/part/opt/venv/lib/python3.11/site-packages/twofold.pth


# Nothing of this stays in the image but what it writes.
FROM python AS sbom
COPY docker/locks/sbom.txt /locks/
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --target /opt/sbom --require-hashes -r /locks/sbom.txt


FROM ${BASE} AS image
# Set-uid programs have no use in a job, and a container that runs as anybody should find none.
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates python3 \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/* \
    && find / -xdev -type f -perm /6000 -exec chmod a-s {} +

COPY --from=torch /part/opt/venv /opt/venv
COPY --from=dependencies /opt/venv /opt/venv
COPY --from=package /part/opt/venv /opt/venv

# Nothing is written beside the code or the model: both may be read-only, and the user may have no home.
ENV PATH=/opt/venv/bin:$PATH \
    LANG=C.UTF-8 \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    XDG_CACHE_HOME=/tmp/cache \
    HF_HOME=/tmp/cache/huggingface \
    MPLCONFIGDIR=/tmp/cache/matplotlib \
    TORCHINDUCTOR_CACHE_DIR=/tmp/cache/inductor \
    TRITON_CACHE_DIR=/tmp/cache/triton \
    ORT_DISABLE_TELEMETRY=1

ARG TORCH_BUILD
# What libraries leave in /tmp when they are first used stays out: a cache folder of root would be in the way of any other
# user.
RUN --mount=type=bind,source=docker/smoke.py,target=/mnt/smoke.py --mount=type=tmpfs,target=/tmp python3 /mnt/smoke.py "$TORCH_BUILD"
RUN --mount=type=bind,source=docker/sbom.py,target=/mnt/sbom.py \
    --mount=type=bind,from=sbom,source=/opt/sbom,target=/mnt/sbom \
    PYTHONPATH=/mnt/sbom python3 /mnt/sbom.py /usr/share/sbom/twofold.cdx.json

EXPOSE 8080
ARG VERSION
ARG REVISION
LABEL com.amazonaws.sagemaker.capabilities.multi-models=true \
      com.amazonaws.sagemaker.capabilities.accept-bind-to-port=true \
      com.amazonaws.sagemaker.capabilities.bidirectional-streaming=true \
      twofold.sbom=/usr/share/sbom/twofold.cdx.json \
      org.opencontainers.image.title=twofold \
      org.opencontainers.image.description="One image that trains and serves PyTorch models on Amazon SageMaker and on a laptop" \
      org.opencontainers.image.licenses=Apache-2.0 \
      org.opencontainers.image.version=$VERSION \
      org.opencontainers.image.revision=$REVISION

# No ENTRYPOINT: `train`, `serve` and any foreign command run as they are. With no command at all, as SDK v3 starts
# a container in local mode and as processing jobs do, `auto` finds out from /opt/ml what is asked.
CMD ["twofold", "auto"]


# For SageMaker Studio: the same environment with JupyterLab, rehearsal and the verbs of a model's life added.
FROM dependencies AS wheels
COPY docker/locks/studio.txt /locks/
RUN --mount=type=cache,target=/root/.cache/pip \
    pip wheel --no-deps --require-hashes --wheel-dir /wheels -r /locks/studio.txt


FROM image AS studio
RUN apt-get update \
    && apt-get install -y --no-install-recommends curl gzip tar unzip \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/* \
    && find / -xdev -type f -perm /6000 -exec chmod a-s {} + \
    && useradd --uid 1000 --gid 100 --create-home --shell /bin/bash sagemaker-user
RUN --mount=type=bind,from=wheels,source=/wheels,target=/mnt/wheels \
    --mount=type=bind,source=docker/locks/studio.txt,target=/mnt/studio.txt \
    sed 's/ *--hash=[^ ]*//; s/ *\\$//' /mnt/studio.txt > /tmp/studio.txt \
    && pip3 install --no-cache-dir --no-index --no-deps --find-links /mnt/wheels -r /tmp/studio.txt \
    && rm /tmp/studio.txt && chmod -R o+rX /opt/venv
COPY --chmod=755 docker/jupyterlab /opt/venv/bin/jupyterlab
# Not in the home, over which Studio mounts the user's own disk.
COPY examples/notebooks/*.ipynb /usr/share/twofold/notebooks/
ENV SHELL=/bin/bash
EXPOSE 8888
USER 1000:100
WORKDIR /home/sagemaker-user
CMD ["jupyterlab"]


# What `docker build` makes without --target.
FROM image AS final
