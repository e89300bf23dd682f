# Programs that are built already, and nothing else: the context is the folder that they are in.
FROM scratch
COPY . /
USER 65532:65532
