#!/bin/sh
# First process of the project's own Docker engine, in network, mount and process namespaces of its own, so that
# neither its firewall rules nor its mounts nor a forgotten container reach the machine.
# Environment: ENGINE (state folder), ENGINE_SOCKET, ENGINE_PARENT (cgroup), ENGINE_RUNTIME (a runc wrapper, or empty).
set -eu
ip link set lo up
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/lock
set -- --data-root "$ENGINE/data" --exec-root /run/docker --pidfile /run/docker.pid -H "unix://$ENGINE_SOCKET" \
  --cgroup-parent "$ENGINE_PARENT" --bip 172.29.0.1/24 --config-file "$ENGINE/daemon.json"
if [ -n "$ENGINE_RUNTIME" ]; then
  set -- "$@" --add-runtime "holdfast=$ENGINE_RUNTIME" --default-runtime holdfast
fi
# tini reaps the shims that outlive dockerd's interest in them.
exec tini -- dockerd "$@"
