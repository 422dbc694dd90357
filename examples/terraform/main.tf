# A server with a network, a floating IP and a volume, by the provider terraform-provider-openstack/openstack as it is.
#
#   OS_CLOUD=ci terraform -chdir=examples/terraform apply -var image=debian-12 -var flavor=m1.small
#
# (Not among the examples that our tests run: neither Terraform nor OpenTofu comes from a package index that they use.)
terraform {
  required_providers {
    openstack = {
      source  = "terraform-provider-openstack/openstack"
      version = "~> 3.0"
    }
  }
}

provider "openstack" {} # all it needs to know stands in clouds.yaml, under the name in OS_CLOUD

variable "image" { type = string }
variable "flavor" { type = string }

data "openstack_networking_network_v2" "public" {
  name     = "public"
  external = true
}

resource "openstack_networking_network_v2" "example" {
  name = "terraform"
}

resource "openstack_networking_subnet_v2" "example" {
  name       = "terraform"
  network_id = openstack_networking_network_v2.example.id
  cidr       = "192.168.79.0/24"
}

resource "openstack_networking_router_v2" "example" {
  name                = "terraform"
  external_network_id = data.openstack_networking_network_v2.public.id
}

resource "openstack_networking_router_interface_v2" "example" {
  router_id = openstack_networking_router_v2.example.id
  subnet_id = openstack_networking_subnet_v2.example.id
}

resource "openstack_networking_secgroup_v2" "example" {
  name = "terraform"
}

resource "openstack_networking_secgroup_rule_v2" "ssh" {
  security_group_id = openstack_networking_secgroup_v2.example.id
  direction         = "ingress"
  ethertype         = "IPv4"
  protocol          = "tcp"
  port_range_min    = 22
  port_range_max    = 22
  remote_ip_prefix  = "0.0.0.0/0"
}

resource "openstack_compute_keypair_v2" "example" {
  name = "terraform"
}

resource "openstack_networking_port_v2" "example" {
  name               = "terraform"
  network_id         = openstack_networking_network_v2.example.id
  security_group_ids = [openstack_networking_secgroup_v2.example.id]

  fixed_ip {
    subnet_id = openstack_networking_subnet_v2.example.id
  }
}

resource "openstack_compute_instance_v2" "example" {
  name        = "terraform"
  image_name  = var.image
  flavor_name = var.flavor
  key_pair    = openstack_compute_keypair_v2.example.name
  user_data   = file("${path.module}/../cloud-init.yaml")

  network {
    port = openstack_networking_port_v2.example.id
  }
}

resource "openstack_networking_floatingip_v2" "example" {
  pool       = "public"
  port_id    = openstack_networking_port_v2.example.id
  depends_on = [openstack_networking_router_interface_v2.example]
}

resource "openstack_blockstorage_volume_v3" "example" {
  name = "terraform"
  size = 1
}

resource "openstack_compute_volume_attach_v2" "example" {
  instance_id = openstack_compute_instance_v2.example.id
  volume_id   = openstack_blockstorage_volume_v3.example.id
}

output "address" {
  value = openstack_networking_floatingip_v2.example.address
}

output "private_key" {
  value     = openstack_compute_keypair_v2.example.private_key
  sensitive = true
}
