# docker build --tag jaxrl .
# docker run --rm --volume ./runs:/jaxrl/runs jaxrl a3c --env Pong-v5
FROM python:3.11-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libegl1 libopengl0 \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /jaxrl
COPY requirements.lock .
RUN pip install --no-cache-dir --requirement requirements.lock
COPY pyproject.toml README.md LICENSE source/
COPY jaxrl source/jaxrl
RUN pip install --no-cache-dir --no-deps ./source
ENTRYPOINT ["jaxrl"]
CMD ["a3c", "--env", "Riverraid-v5"]
