# A tunnel over the loopback of a network of its own, and tunnels that do not come up. Each leaves
# its log in a file of its name. Ends with 77 where something is missing.
command -v openvpn >/dev/null && command -v openssl >/dev/null && test -w /dev/net/tun || exit 77
ip link set lo up
: >begun

identity() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 \
        -subj "/CN=$1" -keyout "$1.key" -out "$1.pem" 2>/dev/null
    openssl x509 -noout -fingerprint -sha256 -in "$1.pem" | cut -d= -f2 >"$1.print"
}
identity server
identity client
openssl pkey -in client.key -aes256 -passout pass:x -out encrypted.key

# No time before each line, as in the journal.
vpn() { exec setsid openvpn --suppress-timestamps --verb 3 --cd "$PWD" "$@" </dev/null; }
client() {
    log=$1
    shift
    vpn --dev tap120 --dev-type tap --proto tcp-client --remote 127.0.0.1 1194 --tls-client \
        --peer-fingerprint "$(cat server.print)" --cert client.pem --key client.key \
        --connect-retry 1 1 "$@" >"$log" 2>&1
}
# Waits until a file says so.
until_said() {
    for _ in $(seq 100); do
        grep -q "$2" "$1" 2>/dev/null && return
        sleep 0.1
    done
    cat "$1" >&2
    return 1
}

client refused &
refused=$!
until_said refused 'Connection refused'
kill -KILL $refused

vpn --dev tap9 --dev-type tap --proto tcp-server --port 1194 --local 127.0.0.1 --tls-server --dh none \
    --peer-fingerprint "$(cat client.print)" --cert server.pem --key server.key >server.log 2>&1 &
server=$!
until_said server.log 'Listening for incoming TCP connection'
client broken &
client=$!
until_said broken 'Initialization Sequence Completed'
cp broken up
kill -KILL $server
until_said broken 'process restarting'
kill -KILL $client

client nameless --remote name.invalid 1194 &
nameless=$!
until_said nameless 'Cannot resolve host address'
kill -KILL $nameless

# These end by themselves.
! (client asks --key encrypted.key)
! (client option --nobind --lport 5)
! (client cipher --data-ciphers-fallback CAST5-CBC)
