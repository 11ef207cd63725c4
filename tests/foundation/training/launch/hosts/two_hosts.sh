#!/usr/bin/env bash
# Runs a command on the first of two hosts, host-a and host-b: two network namespaces joined by a cable, each with an ssh
# server of its own. They share the files and the processes of this machine, and a home folder of their own. Needs root,
# sshd, ip and unshare.
#
#   two_hosts.sh FOLDER COMMAND...     FOLDER: an empty folder; it holds the home of root for COMMAND.
set -euo pipefail

if [ "${1:-}" != --inside ]; then
  folder=$(realpath "$1")
  # All processes end with this one, and the namespaces with them.
  exec unshare --pid --mount --net --fork --kill-child --mount-proc "$0" --inside "$folder" "${@:2}"
fi

folder=$2
mkdir -p "$folder/home" "$folder/etc" /run/netns /run/sshd
mount --make-rprivate /
mount -t tmpfs tmpfs "$folder/home"  # a database there is quick
mkdir "$folder/home/.ssh"
mount -t tmpfs tmpfs /run/netns
sed "s|^\(root:[^:]*:[^:]*:[^:]*:[^:]*:\)[^:]*|\1$folder/home|" /etc/passwd > "$folder/etc/passwd"
printf '127.0.0.1 localhost\n10.77.0.1 host-a\n10.77.0.2 host-b\n10.77.0.3 host-c\n' > "$folder/etc/hosts"
mount --bind "$folder/etc/passwd" /etc/passwd
mount --bind "$folder/etc/hosts" /etc/hosts
# No name server can be reached from here: nobody is to wait for one.
echo 'hosts: files' > "$folder/etc/nsswitch.conf"
mount --bind "$folder/etc/nsswitch.conf" /etc/nsswitch.conf
export HOME="$folder/home"

ssh-keygen -q -t ed25519 -N '' -f "$folder/etc/host_key"
ssh-keygen -q -t ed25519 -N '' -f "$HOME/.ssh/id_ed25519"
cp "$HOME/.ssh/id_ed25519.pub" "$HOME/.ssh/authorized_keys"
for host in host-a host-b; do
  printf '%s %s\n' "$host" "$(cut -d' ' -f1,2 "$folder/etc/host_key.pub")" >> "$HOME/.ssh/known_hosts"
done

ip netns add host-a
ip netns add host-b
ip link add eth0 netns host-a type veth peer name eth0 netns host-b
number=1
for host in host-a host-b; do
  ip -n "$host" link set lo up
  ip -n "$host" address add "10.77.0.$number/24" dev eth0
  ip -n "$host" link set eth0 up
  cat > "$folder/etc/sshd_$host" <<CONFIG
ListenAddress 10.77.0.$number:22
HostKey $folder/etc/host_key
AuthorizedKeysFile $HOME/.ssh/authorized_keys
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin yes
PidFile none
CONFIG
  ip netns exec "$host" /usr/sbin/sshd -f "$folder/etc/sshd_$host" -E "$folder/etc/sshd_$host.log"
  number=$((number + 1))
done
ip netns exec host-a "${@:3}"
