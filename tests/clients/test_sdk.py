"""openstacksdk against the daemon: what Ansible, Terraform's users and scripts do all day, one test a chore."""

from __future__ import annotations

import io

import pytest
from openstack import exceptions
from openstack.connection import Connection

from tests.clients.conftest import PASSWORD, Running


@pytest.fixture(scope="module")
def image_id(sdk: Connection) -> str:
    """An active image."""
    image = sdk.image.create_image("tiny", data=io.BytesIO(bytes(65536)), disk_format="raw", container_format="bare")
    return str(sdk.image.get_image(image.id).id)


@pytest.fixture(scope="module")
def network_id(sdk: Connection) -> str:
    """A network with a subnet."""
    network = sdk.network.create_network(name="clients")
    sdk.network.create_subnet(network_id=network.id, ip_version=4, cidr="10.77.0.0/24", name="clients")
    return str(network.id)


@pytest.fixture(scope="module")
def flavor_id(sdk: Connection) -> str:
    """The smallest there is, or one of our own."""
    known = sorted(sdk.compute.flavors(), key=lambda one: one.ram)
    return str(known[0].id if known else sdk.compute.create_flavor(name="c1", ram=64, vcpus=1, disk=1).id)


def test_logging_in_and_reading_the_catalogue(sdk: Connection, running: Running) -> None:
    assert sdk.current_project.name == "admin"
    for kind in ("identity", "image", "placement", "network", "block-storage", "compute"):
        assert str(sdk.session.get_endpoint(service_type=kind, interface="public")).startswith(running.url), kind


def test_a_wrong_password_is_refused(running: Running) -> None:
    auth = {
        "auth_url": f"{running.url}/identity",
        "username": "admin",
        "password": PASSWORD + "x",
        "project_name": "admin",
    }
    domains = {"user_domain_id": "default", "project_domain_id": "default"}
    with Connection(auth={**auth, **domains}) as wrong, pytest.raises(exceptions.SDKException, match="HTTP 401"):
        wrong.authorize()


def test_versions_are_discovered(sdk: Connection) -> None:
    assert sdk.compute.get_endpoint_data().max_microversion >= (2, 90)
    assert sdk.placement.get_endpoint_data().max_microversion == (1, 39)
    assert sdk.block_storage.get_endpoint_data().max_microversion >= (3, 60)


def test_an_image_goes_up_and_comes_back(sdk: Connection, image_id: str) -> None:
    image = sdk.image.get_image(image_id)
    assert (image.status, image.size) == ("active", 65536)
    assert sdk.image.download_image(image).content == bytes(65536)
    assert sdk.image.find_image("tiny").id == image_id


def test_users_and_projects(sdk: Connection) -> None:
    project = sdk.identity.create_project(name="sdk-project")
    user = sdk.identity.create_user(name="sdk-user", password="secret-enough", default_project_id=project.id)
    role = sdk.identity.find_role("member")
    sdk.identity.assign_project_role_to_user(project, user, role)
    assert [one.role["id"] for one in sdk.identity.role_assignments(user_id=user.id)] == [role.id]
    sdk.identity.delete_user(user)
    sdk.identity.delete_project(project)
    assert sdk.identity.find_user("sdk-user") is None


def test_the_life_of_a_server(sdk: Connection, image_id: str, network_id: str, flavor_id: str) -> None:
    body = {"name": "life", "image_id": image_id, "flavor_id": flavor_id, "networks": [{"uuid": network_id}]}
    server = sdk.compute.wait_for_server(sdk.compute.create_server(**body), wait=60, interval=0.2)
    assert server.addresses["clients"][0]["addr"].startswith("10.77.0.")
    sdk.compute.stop_server(server)
    sdk.compute.wait_for_server(server, status="SHUTOFF", wait=60, interval=0.2)
    sdk.compute.start_server(server)
    sdk.compute.wait_for_server(server, wait=60, interval=0.2)
    sdk.compute.reboot_server(server, "HARD")
    sdk.compute.wait_for_server(server, wait=60, interval=0.2)
    sdk.compute.set_server_metadata(server, colour="blue")
    assert sdk.compute.get_server_metadata(server).metadata == {"colour": "blue"}
    sdk.compute.delete_server(server)
    sdk.compute.wait_for_delete(server, wait=60, interval=0.2)
    assert list(sdk.network.ports(device_id=server.id)) == []


def test_a_volume_is_attached_and_comes_back(sdk: Connection, image_id: str, network_id: str, flavor_id: str) -> None:
    volume = sdk.block_storage.create_volume(size=1, name="data")
    sdk.block_storage.wait_for_status(volume, "available", interval=0.2, wait=60)
    body = {"name": "holder", "image_id": image_id, "flavor_id": flavor_id, "networks": [{"uuid": network_id}]}
    server = sdk.compute.wait_for_server(sdk.compute.create_server(**body), wait=60, interval=0.2)
    sdk.compute.create_volume_attachment(server, volume_id=volume.id)
    sdk.block_storage.wait_for_status(volume, "in-use", interval=0.2, wait=60)
    assert sdk.block_storage.get_volume(volume.id).attachments[0]["server_id"] == server.id
    with pytest.raises(exceptions.HttpException):
        sdk.block_storage.delete_volume(volume.id, ignore_missing=False)
    sdk.compute.delete_volume_attachment(server, volume.id)
    sdk.block_storage.wait_for_status(volume, "available", interval=0.2, wait=60)
    sdk.compute.delete_server(server)
    sdk.compute.wait_for_delete(server, wait=60, interval=0.2)
    sdk.block_storage.delete_volume(volume)


def test_a_floating_ip_reaches_a_port(sdk: Connection, network_id: str) -> None:
    outside = next(iter(sdk.network.networks(is_router_external=True)))
    router = sdk.network.create_router(name="r", external_gateway_info={"network_id": outside.id})
    subnet = next(iter(sdk.network.subnets(network_id=network_id)))
    sdk.network.add_interface_to_router(router, subnet=subnet.id)
    port = sdk.network.create_port(network_id=network_id)
    floating = sdk.network.create_ip(floating_network_id=outside.id, port_id=port.id)
    assert (floating.port_id, floating.fixed_ip_address) == (port.id, port.fixed_ips[0]["ip_address"])
    sdk.network.delete_ip(floating)
    sdk.network.delete_port(port)
    sdk.network.remove_interface_from_router(router, subnet=subnet.id)
    sdk.network.delete_router(router)


def test_quotas_are_read_and_set(sdk: Connection) -> None:
    project = sdk.identity.create_project(name="sdk-quota")
    assert sdk.compute.get_quota_set(project).instances > 0
    assert sdk.block_storage.get_quota_set(project).volumes > 0
    assert sdk.network.get_quota(project.id).networks > 0
    sdk.set_compute_quotas(project.id, instances=3)
    assert sdk.get_compute_quotas(project.id).instances == 3
    sdk.identity.delete_project(project)


def test_what_is_not_there_is_none(sdk: Connection) -> None:
    assert sdk.compute.find_server("no such server") is None
    assert sdk.network.find_network("no such network") is None
    assert sdk.block_storage.find_volume("no such volume") is None
    with pytest.raises(exceptions.NotFoundException):
        sdk.image.get_image("11111111-1111-4111-8111-111111111111")
