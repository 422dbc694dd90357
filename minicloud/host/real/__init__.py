"""The drivers of a real machine: libvirt, netlink, dnsmasq, nft, qemu-img, namespaces."""
