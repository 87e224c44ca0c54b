# Not run in CI. Build from the root of the checkout.
FROM python:3.12-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev
WORKDIR /src
COPY . .
RUN pip wheel --wheel-dir /wheels .

FROM python:3.12-slim
RUN --mount=type=bind,from=build,source=/wheels,target=/wheels pip install --no-index --find-links /wheels shm-echo \
    && useradd --uid 1000 runner && mkdir /ipc && chown runner /ipc && chmod 711 /ipc
USER runner
VOLUME /ipc
ENTRYPOINT ["shm-echo", "serve", "--url", "ipc:///ipc/mechestim.sock", "--allow-uid", "1001"]
CMD ["--max-flop-budget", "1e12"]
