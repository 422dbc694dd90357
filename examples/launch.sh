#!/bin/sh
# A launch step by step, with the stock `openstack` command: network, router, rules, key, server, floating IP, volume.
#
#   minicloud sandbox run -- examples/launch.sh IMAGE.qcow2       # a throw-away cloud
#   OS_CLOUD=admin examples/launch.sh IMAGE.qcow2                 # yours (an administrator, since it makes a flavor)
#   examples/launch.sh --clean                                    # take it all away again
set -eu

if [ "${1:-}" = --clean ]; then
    openstack server delete --wait example
    openstack floating ip list --tags example -f value -c ID | xargs -r openstack floating ip delete
    openstack volume delete example
    openstack router remove subnet example example
    openstack router delete example
    openstack network delete example
    openstack security group delete example
    openstack keypair delete example
    openstack flavor delete example
    openstack image delete example
    exit
fi
image=${1:?name an image file, or --clean}

echo "== 1. what it starts from"
openstack image create example --disk-format qcow2 --container-format bare --file "$image"
openstack flavor create example --vcpus 1 --ram 256 --disk 1

echo "== 2. where it is: a network of its own, and a router to the world"
openstack network create example
openstack subnet create example --network example --subnet-range 192.168.77.0/24
openstack router create example --external-gateway public
openstack router add subnet example example

echo "== 3. who may reach it, and with which key"
openstack security group create example
openstack security group rule create example --protocol icmp
openstack security group rule create example --protocol tcp --dst-port 22
openstack keypair create example > example.pem
chmod 600 example.pem

echo "== 4. the machine"
openstack server create example --image example --flavor example --network example \
    --security-group example --key-name example --wait

echo "== 5. an address outside, and a disk"
address=$(openstack floating ip create public --tag example -f value -c floating_ip_address)
openstack server add floating ip example "$address"
openstack volume create example --size 1
openstack server add volume example example

openstack server show example
echo "Log in with: ssh -i example.pem USER@$address"
