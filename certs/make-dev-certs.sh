#!/usr/bin/env bash
# A self-signed certificate for development: dev.crt and dev.key.
#
#   certs/make-dev-certs.sh [-d FOLDER] [NAME …]
#
# NAMEs are DNS names (wildcards too) and IP addresses; without any: localhost, *.localhost, 127.0.0.1 and ::1.
# FOLDER is where the two files go; without it: beside this script.
set -euo pipefail

folder=$(cd "$(dirname "$0")" && pwd)
if [ "${1:-}" = "-d" ]; then
    folder=${2:?-d needs a folder}
    shift 2
fi
[ "$#" -gt 0 ] || set -- localhost '*.localhost' 127.0.0.1 ::1

alternative_names=
for name in "$@"; do
    case $name in
        *:* | *[0-9].[0-9]*.[0-9]*.[0-9]*) kind=IP ;;
        *) kind=DNS ;;
    esac
    alternative_names+="${alternative_names:+,}$kind:$name"
done

mkdir -p "$folder"
umask 077
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 365 \
    -subj "/O=Weir development/CN=$1" -addext "subjectAltName=$alternative_names" \
    -keyout "$folder/dev.key" -out "$folder/dev.crt" 2>/dev/null
chmod 644 "$folder/dev.crt"
echo "$folder/dev.crt and $folder/dev.key are for $*"
