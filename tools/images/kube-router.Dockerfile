# kube-router, and what it calls. The contexts: this folder, and `programs` with what is built.
ARG BASE
FROM ${BASE}
RUN apt-get update && apt-get install -y --no-install-recommends ipset iptables
COPY enforce-policies /usr/local/bin/
COPY --from=programs kube-router /usr/local/bin/
ENTRYPOINT ["enforce-policies"]
