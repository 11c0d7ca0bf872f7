#!/bin/sh
# Makes an authority of your own, and a certificate that it signs for each service, in a folder:
#
#   deploy/tls/make-certificates.sh FOLDER NAME…
#
# Each NAME gets FOLDER/NAME.pem and FOLDER/NAME.key, valid for NAME, localhost and loopback; a service and
# whoever calls it trust FOLDER/ca.pem. A second call keeps the authority and makes new certificates, which the
# running services take at once. The authority's own key lies beside it, in FOLDER-authority, for no service to read.
# For the page, a certificate of a public authority is better: browsers trust it.
set -eu
umask 077

if [ $# -lt 2 ]; then
    echo "usage: $0 FOLDER NAME…" >&2
    exit 2
fi
folder=$1
shift
days=${DAYS:-397}
mkdir -p "$folder" "$folder-authority"
authority=$(cd "$folder-authority" && pwd)
cd "$folder"

if [ ! -e "$authority/ca.key" ]; then
    openssl ecparam -name prime256v1 -genkey -noout -out "$authority/ca.key"
    openssl req -x509 -new -sha256 -key "$authority/ca.key" -days 3650 -subj "/CN=Halftone authority" \
        -addext "keyUsage=critical,keyCertSign,cRLSign" -out ca.pem
    chmod 644 ca.pem
fi
for name in "$@"; do
    openssl ecparam -name prime256v1 -genkey -noout -out "$name.key.new"
    openssl req -new -sha256 -key "$name.key.new" -subj "/CN=$name" -out "$name.csr"
    cat > "$name.ext" <<EOF
basicConstraints=critical,CA:FALSE
keyUsage=critical,digitalSignature
extendedKeyUsage=serverAuth,clientAuth
subjectAltName=DNS:$name,DNS:localhost,IP:127.0.0.1,IP:0:0:0:0:0:0:0:1
EOF
    openssl x509 -req -sha256 -in "$name.csr" -CA ca.pem -CAkey "$authority/ca.key" \
        -CAserial "$authority/ca.srl" -CAcreateserial -days "$days" \
        -extfile "$name.ext" -out "$name.pem.new" 2> /dev/null
    mv "$name.key.new" "$name.key"
    mv "$name.pem.new" "$name.pem"
    chmod 644 "$name.pem"
    rm -f "$name.csr" "$name.ext"
done
