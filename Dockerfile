# rtstyle on a CPU. Build: docker build -t rtstyle .
# A clip: docker run --rm -v "$PWD:/work" rtstyle video clip.mp4 painting.mp4
# The page: docker run --rm -p 8765:8765 rtstyle web --host 0.0.0.0 --token choose-one
ARG PYTHON=python:3.13-slim
FROM ${PYTHON} AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE constraints.txt ./
COPY engines engines
COPY rtstyle rtstyle
COPY train train
RUN python -m venv /opt/rtstyle \
    && /opt/rtstyle/bin/pip install --no-cache-dir --constraint constraints.txt ".[web]"

FROM ${PYTHON}
COPY --from=build /opt/rtstyle /opt/rtstyle
RUN useradd --create-home rtstyle
USER rtstyle
WORKDIR /work
EXPOSE 8765
ENTRYPOINT ["/opt/rtstyle/bin/rtstyle"]
CMD ["--help"]
