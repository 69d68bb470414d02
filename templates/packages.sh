#!/bin/sh
# Installs the packages: the first script inside the new root, as root, whatever the source of the base
# system is. Rendered by imgbuild from templates/packages.sh; the folder /imgbuild holds its payload.
# What this script leaves is what the mirror source keeps in its cache: nothing else of the payload than
# the keys and sources.list has a say in it.
set -eu
export DEBIAN_FRONTEND=noninteractive LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin
# Python's compiled modules are else others each time.
export PYTHONHASHSEED=0
payload=/imgbuild

stage() { echo "imgbuild-stage: $1"; }
apt_runs=0
install_packages() {
    apt_runs=$((apt_runs + 1))
    apt-get -o Dpkg::Options::=--force-confold -o APT::Install-Recommends=false \
        -y install "$@"
}

# No service may start in here: it would make identity (keys, databases) in the base.
printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d
chmod 0755 /usr/sbin/policy-rc.d
# Proxmox's own postinst scripts start nothing while this file is there.
touch /proxmox_install_mode
# The disk is thrown away when anything fails: waiting for each fsync buys nothing.
echo force-unsafe-io > /etc/dpkg/dpkg.cfg.d/imgbuild

{%- if settings.no_documentation %}
# Of all packages, in the clones too: what takes a sixth of the disk and is read on another screen. Copyrights
# stay, and the translations of the base's own language.
cat > /etc/dpkg/dpkg.cfg.d/imgbuild-no-documentation <<'DPKG'
path-exclude=/usr/share/doc/*
path-include=/usr/share/doc/*/copyright
path-exclude=/usr/share/man/*
path-exclude=/usr/share/info/*
path-exclude=/usr/share/locale/*
path-include=/usr/share/locale/locale.alias
path-include=/usr/share/locale/{{ language }}/*
path-include=/usr/share/locale/{{ language }}_*
DPKG
# And of those that are there already.
find /usr/share/doc -type f ! -name copyright -delete
find /usr/share/doc -type l -delete
find /usr/share/man /usr/share/info -mindepth 1 -delete
find /usr/share/locale -mindepth 1 -maxdepth 1 -type d ! -name '{{ language }}' ! -name '{{ language }}_*' -exec rm -rf {} +
{%- endif %}

# For the manifest: the base system as it is now, and from here on what APT fetches, which stays in
# its folder until the seal.
dpkg-query -W -f '${db:Status-Status} ${Package}\n' | sed -n 's/^installed //p' > "$payload/base-packages"
apt-get clean

stage "debconf answers"
debconf-set-selections <<'ANSWERS'
grub-pc grub-pc/install_devices multiselect
grub-pc grub-pc/install_devices_empty boolean true
postfix postfix/main_mailer_type select Local only
postfix postfix/protocols select all
postfix postfix/mailname string localhost.localdomain
tzdata tzdata/Areas select Etc
locales locales/default_environment_locale select {{ locale }}
{%- if generate_locale %}
locales locales/locales_to_be_generated multiselect {{ locale }} UTF-8
{%- endif %}
ANSWERS
ln -sf /usr/share/zoneinfo/{{ timezone }} /etc/localtime
echo {{ timezone }} > /etc/timezone
echo localhost > /etc/hostname
cat > /etc/hosts <<'HOSTS'
127.0.0.1	localhost
::1		localhost ip6-localhost ip6-loopback
ff02::1		ip6-allnodes
ff02::2		ip6-allrouters
HOSTS
# APT: the same settings and lines for every source.
rm -f /etc/apt/apt.conf.d/99mmdebstrap
cat > /etc/apt/apt.conf.d/99imgbuild <<'APT'
Acquire::Languages "none";
Acquire::Retries "3";
{%- if proxy %}
Acquire::http::Proxy "{{ proxy }}";
Acquire::https::Proxy "{{ proxy }}";
{%- endif %}
APT
cp "$payload/sources.list" /etc/apt/sources.list
{%- for repository in repositories %}

stage "repository {{ repository.name }}"
install -D -m 0644 "$payload/keys/{{ repository.name }}.gpg" /usr/share/keyrings/{{ repository.keyring }}
cat > /etc/apt/sources.list.d/{{ repository.name }}.sources <<'SOURCE'
Types: deb
URIs: {{ repository.url }}
Suites: {{ repository.suite }}
{%- if repository.components %}
Components: {{ repository.components }}
{%- endif %}
Signed-By: /usr/share/keyrings/{{ repository.keyring }}
SOURCE
{%- endfor %}
{%- if repositories or source == "netinst" %}

stage "package lists"
apt-get -o APT::Update::Error-Mode=any update
{%- endif %}
{%- if eatmydata %}

stage "eatmydata"
# Until the end of this script, waiting for the disk does nothing.
install_packages libeatmydata1
export LD_PRELOAD=libeatmydata.so
{%- endif %}
{%- if repositories or source == "netinst" %}

stage "updates"
# The disc is older than the mirror, and has nothing of the security archive; a further repository
# may have newer versions of what the base system is made of, as Proxmox's has.
apt_runs=$((apt_runs + 1))
apt-get -o Dpkg::Options::=--force-confold -o APT::Install-Recommends=false -y dist-upgrade
{%- endif %}

# All in one run. The kernel's initramfs is made later, once, when everything that belongs into it is there; and
# grub's hook for kernels does nothing before there is a menu.
stage "packages"
{%- if proxmox %}
# Proxmox's is the only kernel that is ever downloaded. Its postinst does nothing while
# /proxmox_install_mode is there: neither depmod nor hooks.
{%- endif %}
INITRD=No install_packages {{ packages }}
{%- if generate_locale %}
command -v locale-gen >/dev/null && { echo "{{ locale }} UTF-8" > /etc/locale.gen; locale-gen; }
{%- endif %}
echo "LANG={{ locale }}" > /etc/default/locale
{%- if proxmox %}

stage "proxmox"
# These hooks copy kernels to EFI partitions. Here is none, and they want a mount namespace of their
# own, which they cannot have where / is no mount point: their failure would end dpkg's work.
for hook in {{ boot_hooks }}; do [ ! -e "$hook" ] || chmod a-x "$hook"; done
# Debian's kernels come by no way that is known; a package that depends on one must not keep it.
unwanted=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' 'linux-image-*' os-prober 2>/dev/null |
    sed -n '/^not-installed /!s/^[^ ]* //p') || true
# shellcheck disable=SC2086
[ -z "$unwanted" ] || apt-get -y purge $unwanted
# Without a subscription the enterprise repositories answer 401, and every "apt update" fails.
# They are switched off, not removed: these are conffiles, dpkg keeps what was changed in them at
# each upgrade, and Proxmox's web page shows them and can switch them on.
for file in /etc/apt/sources.list.d/*.sources; do
    grep -q '://enterprise\.proxmox\.com' "$file" || continue
    awk 'BEGIN { RS = ""; ORS = "\n\n" }
        /:\/\/enterprise\.proxmox\.com/ { gsub(/\n[Ee]nabled:[^\n]*/, ""); sub(/^[Ee]nabled:[^\n]*\n/, ""); $0 = $0 "\nEnabled: no" }
        { print }' "$file" > "$payload/source"
    cat "$payload/source" > "$file"
done
for file in /etc/apt/sources.list.d/*.list; do
    [ ! -e "$file" ] || sed -i '/:\/\/enterprise\.proxmox\.com/s/^ *deb/# deb/' "$file"
done
{%- endif %}

stage "download"
find /var/cache/apt/archives -name '*.deb' -printf '%s\n' > "$payload/fetched"
mkdir -p /usr/share/imgbuild
apt-cache dumpavail | awk -v runs=$apt_runs '
    FILENAME == ARGV[1] { base[$1] = 1; next }
    FILENAME == ARGV[2] { fetched++; bytes += $1; next }
    /^Package: / { name = $2 }
    /^Size: / && (name in base) { delete base[name]; count++; size += $2 }
    END { printf "{\"base_packages\": %d, \"base_bytes\": %.0f, \"packages\": %d, \"bytes\": %.0f, \"apt_runs\": %d}\n",
        count, size, fetched, bytes, runs }' "$payload/base-packages" "$payload/fetched" - > /usr/share/imgbuild/download.json
# The newest of the archives' own dates, in seconds since 1970: what is made of the same archives has
# the same one.
for file in /var/lib/apt/lists/*Release; do
    date -d "$(sed -n 's/^Date: //p' "$file" | head -n 1)" +%s
done | sort -n | tail -n 1 > /usr/share/imgbuild/source-date
echo "imgbuild-releases: $(for file in /var/lib/apt/lists/*Release; do sha256sum < "$file"; done |
    sort -u | cut -d ' ' -f 1 | tr '\n' ' ')"
# A root that is kept has no use for these.
rm -rf /var/cache/apt/archives/*.deb /var/cache/apt/*.bin /var/lib/apt/lists/*
mkdir -p /var/lib/apt/lists/partial
