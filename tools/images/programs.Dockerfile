# Programs that are built already, and nothing else: the context `programs` is the folder with them.
FROM scratch
COPY --from=programs . /
USER 65532:65532
