#!/usr/bin/env bash
# Expert parallelism across two "hosts" of this machine: network namespaces joined by a veth pair, each with a host name
# of its own. Needs root, iproute2 and Open MPI.
#   tests/train/two_hosts.sh ARTEL
# Passes when two ranks train with their experts on both hosts, have the loss of one process and really sent their tokens
# through the pair, and when the same is refused without parallel.expert_across_hosts.
set -euo pipefail

artel=$(realpath "$1")
folder=$(mktemp -d)
a="artel-a-$$"
b="artel-b-$$"
clean_up() {
  ip netns del "$a" 2>/dev/null || true
  ip netns del "$b" 2>/dev/null || true
  rm -rf "$folder"
}
trap clean_up EXIT

ip netns add "$a"
ip netns add "$b"
ip link add veth-a netns "$a" type veth peer name veth-b netns "$b"
ip -n "$a" addr add 10.77.0.1/24 dev veth-a
ip -n "$b" addr add 10.77.0.2/24 dev veth-b
for side in a b; do
  name="${!side}"
  ip -n "$name" link set "veth-$side" up
  ip -n "$name" link set lo up
done

# Open MPI starts its daemon on the other host by: agent HOST COMMAND…
cat >"$folder/agent" <<EOF
#!/usr/bin/env bash
shift
exec ip netns exec $b unshare --uts bash -c "hostname node-b; \$*"
EOF
chmod +x "$folder/agent"
printf '10.77.0.1 slots=1\n10.77.0.2 slots=1\n' >"$folder/hosts"
head -c 60000 /dev/urandom >"$folder/train.bin"
cat >"$folder/run.yaml" <<EOF
run: {name: r, directory: $folder, tensorboard: false}
model: {vocab_size: 256, hidden_size: 64, num_hidden_layers: 2, num_attention_heads: 2, num_key_value_heads: 2,
  max_position_embeddings: 64, num_experts: 8, num_experts_per_tok: 2, moe_intermediate_size: 64,
  shared_expert_intermediate_size: 32, router_aux_loss_scope: sequence, routing: {type: uoe}}
data: {train: [{path: $folder/train.bin}]}
train: {steps: 5, global_batch_size: 8, micro_batch_size: 4, precision: fp32, threads: 1}
validation: {every: 0}
checkpoint: {every: 0}
EOF

two_hosts() {  # settings…: the config on two ranks, one on each host
  ip netns exec "$a" unshare --uts bash -c 'hostname node-a; exec "$@"' _ timeout 120 mpirun --allow-run-as-root \
    --bind-to none --hostfile "$folder/hosts" -np 2 --map-by node --mca plm_rsh_agent "$folder/agent" \
    --mca btl tcp,self --mca btl_tcp_if_include 10.77.0.0/24 --mca oob_tcp_if_include 10.77.0.0/24 \
    "$artel" train -c "$folder/run.yaml" --set parallel.expert=2 "$@"
}
last_loss() {  # run name
  grep -o '"loss":[0-9.]*' "$folder/$1/metrics.jsonl" | tail -1 | cut -d: -f2
}

if output=$(two_hosts 2>&1); then
  echo "required a refusal of experts on two hosts, found none"
  exit 1
fi
grep -q 'expert_across_hosts' <<<"$output" || { echo "required a refusal that names the key, found: $output"; exit 1; }

two_hosts --set run.name=two --set parallel.expert_across_hosts=true
"$artel" train -c "$folder/run.yaml" --set run.name=one
bytes=$(ip netns exec "$a" cat /sys/class/net/veth-a/statistics/tx_bytes 2>/dev/null ||
  ip netns exec "$a" awk '/veth-a/ {print $10}' /proc/net/dev)
python3 - "$(last_loss one)" "$(last_loss two)" "$bytes" <<'EOF'
import sys
one, two, sent = float(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
assert abs(one - two) <= 1e-5 * one, f"required loss {one}, found {two}"
assert sent > 1_000_000, f"required tokens and gradients between the hosts, found {sent} bytes"
print(f"loss {two} on two hosts, {one} on one; {sent} bytes from one host to the other")
EOF
