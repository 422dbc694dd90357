"""The same launch as launch.sh, by openstacksdk: run it twice and nothing changes, run it with --clean and all is gone.

OS_CLOUD=admin python examples/launch.py IMAGE.qcow2
"""

import sys

import openstack

NAME = "example"


def launch(cloud: openstack.connection.Connection, image_file: str) -> str:
    """Make whatever is missing; the address under which the server is reached."""
    image = cloud.get_image(NAME) or cloud.create_image(
        NAME, filename=image_file, disk_format="qcow2", container_format="bare", wait=True
    )
    flavor = cloud.get_flavor(NAME) or cloud.create_flavor(NAME, ram=256, vcpus=1, disk=1)
    network = cloud.get_network(NAME) or cloud.create_network(NAME)
    subnet = cloud.get_subnet(NAME) or cloud.create_subnet(network.id, subnet_name=NAME, cidr="192.168.77.0/24")
    router = cloud.get_router(NAME)
    if router is None:
        outside = cloud.network.find_network("public", ignore_missing=False)
        router = cloud.create_router(NAME, ext_gateway_net_id=outside.id)
        cloud.add_router_interface(router, subnet_id=subnet.id)
    group = cloud.get_security_group(NAME)
    if group is None:
        group = cloud.create_security_group(NAME, "ping and ssh")
        cloud.create_security_group_rule(group.id, protocol="icmp")
        cloud.create_security_group_rule(group.id, protocol="tcp", port_range_min=22, port_range_max=22)
    server = cloud.get_server(NAME) or cloud.create_server(
        NAME, image=image, flavor=flavor, network=network, security_groups=[NAME], ip_pool="public", wait=True
    )
    volume = cloud.get_volume(NAME) or cloud.create_volume(1, name=NAME)
    if not volume.attachments:
        cloud.attach_volume(server, volume)
    return str(cloud.get_server_public_ip(server))


def clean(cloud: openstack.connection.Connection) -> None:
    """Take away what `launch` made."""
    cloud.delete_server(NAME, wait=True, delete_ips=True)
    cloud.delete_volume(NAME)
    router, subnet = cloud.get_router(NAME), cloud.get_subnet(NAME)
    if router and subnet:
        cloud.remove_router_interface(router, subnet_id=subnet.id)
    cloud.delete_router(NAME)
    cloud.delete_network(NAME)
    cloud.delete_security_group(NAME)
    cloud.delete_flavor(NAME)
    cloud.delete_image(NAME)


if __name__ == "__main__":
    with openstack.connect() as connection:
        if sys.argv[1:] == ["--clean"]:
            clean(connection)
        else:
            print(launch(connection, sys.argv[1]))
