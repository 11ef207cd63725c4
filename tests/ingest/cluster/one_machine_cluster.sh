#!/usr/bin/env bash
# Runs a command beside an ssh server, in namespaces of its own: another network (so that port 22 is free), other
# processes (`ray stop` ends all that it sees), another home folder. Needs root, sshd, ip and unshare.
#
#   one_machine_cluster.sh FOLDER COMMAND...     FOLDER: an empty folder; it becomes the home of root for COMMAND.
set -euo pipefail

if [ "${1:-}" != --inside ]; then
  folder=$(realpath "$1")
  net="foundation-$$"
  ip netns add "$net"
  trap 'ip netns del "$net"' EXIT
  ip netns exec "$net" unshare --pid --mount --fork --kill-child --mount-proc "$0" --inside "$folder" "${@:2}"
  exit
fi

folder=$2
ip link set lo up
mkdir -p "$folder/home/.ssh" "$folder/ray" "$folder/etc" /tmp/ray /run/sshd
mount --make-rprivate /
mount --bind "$folder/ray" /tmp/ray
sed "s|^\(root:[^:]*:[^:]*:[^:]*:[^:]*:\)[^:]*|\1$folder/home|" /etc/passwd > "$folder/etc/passwd"
mount --bind "$folder/etc/passwd" /etc/passwd
export HOME="$folder/home"

ssh-keygen -q -t ed25519 -N '' -f "$folder/etc/host_key"
ssh-keygen -q -t ed25519 -N '' -f "$folder/etc/user_key"
cp "$folder/etc/user_key.pub" "$HOME/.ssh/authorized_keys"
touch "$HOME/.bashrc"
cat > "$folder/etc/sshd_config" <<CONFIG
ListenAddress 127.0.0.1:22
HostKey $folder/etc/host_key
AuthorizedKeysFile $HOME/.ssh/authorized_keys
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin yes
PidFile none
CONFIG
/usr/sbin/sshd -f "$folder/etc/sshd_config" -E "$folder/etc/sshd.log"
cd "$HOME"
"${@:3}"
