# Not run in CI. Build from the root of the checkout.
FROM python:3.12-slim AS build
WORKDIR /src
COPY . .
RUN pip wheel --wheel-dir /wheels packaging/client

FROM python:3.12-slim
RUN --mount=type=bind,from=build,source=/wheels,target=/wheels pip install --no-index --find-links /wheels mechestim-client \
    && pip uninstall --yes pip && useradd --uid 1001 runner
USER runner
ENV MECHESTIM_SERVER_URL=ipc:///ipc/mechestim.sock MECHESTIM_SERVER_UID=1000 PYTHONDONTWRITEBYTECODE=1
ENTRYPOINT ["python", "/submission/run.py"]
