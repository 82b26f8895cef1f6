# The VPC. Private subnets hold the tasks, the load balancer and the endpoints,
# and have no route to an internet gateway in any mode. The public subnet is
# the client's alone; NAT gateways, where there are any, have subnets of their
# own.

data "aws_availability_zones" "available" {
  state = "available"
  # Local and wavelength zones have no Fargate and no endpoints.
  filter {
    name   = "opt-in-status"
    values = ["opt-in-not-required"]
  }
}

locals {
  zones = length(var.availability_zones) > 0 ? var.availability_zones : slice(data.aws_availability_zones.available.names, 0, length(var.private_subnet_cidrs))

  # By index, so that a subnet keeps its address when another is added.
  private = { for i, cidr in var.private_subnet_cidrs : tostring(i) => { cidr = cidr, zone = local.zones[i] } }
  nat     = { for i, cidr in slice(var.nat_subnet_cidrs, 0, var.nat_gateways) : tostring(i) => { cidr = cidr, zone = local.zones[i] } }

  has_gateway = var.public_subnet || var.nat_gateways > 0

  # Every private subnet to the relays' network, by its own route table.
  relay_routes = merge([
    for key in keys(local.private) : { for r in var.relay_routes : "${key}/${r.cidr}" => merge(r, { table = key }) }
  ]...)
}

resource "aws_vpc" "this" {
  cidr_block           = var.vpc_cidr
  enable_dns_support   = true
  enable_dns_hostnames = true # private DNS of the endpoints needs both

  tags = { Name = var.name }
}

# What comes with a VPC stays empty, so that nothing works by default.
resource "aws_default_security_group" "this" {
  vpc_id = aws_vpc.this.id
  tags   = { Name = "${var.name}-default-unused" }
}

resource "aws_default_route_table" "this" {
  default_route_table_id = aws_vpc.this.default_route_table_id
  route                  = []
  tags                   = { Name = "${var.name}-default-unused" }
}

resource "aws_subnet" "private" {
  for_each = local.private

  vpc_id                  = aws_vpc.this.id
  cidr_block              = each.value.cidr
  availability_zone       = each.value.zone
  map_public_ip_on_launch = false

  tags = { Name = "${var.name}-private-${each.key}" }
}

# One table a subnet: the way out of a zone is that zone's NAT gateway.
resource "aws_route_table" "private" {
  for_each = local.private

  vpc_id = aws_vpc.this.id
  tags   = { Name = "${var.name}-private-${each.key}" }
}

resource "aws_route_table_association" "private" {
  for_each = local.private

  subnet_id      = aws_subnet.private[each.key].id
  route_table_id = aws_route_table.private[each.key].id
}

resource "aws_route" "nat" {
  for_each = var.nat_gateways > 0 ? local.private : {}

  route_table_id         = aws_route_table.private[each.key].id
  destination_cidr_block = "0.0.0.0/0"
  nat_gateway_id         = aws_nat_gateway.this[contains(keys(local.nat), each.key) ? each.key : "0"].id
}

resource "aws_route" "relay" {
  for_each = local.relay_routes

  route_table_id            = aws_route_table.private[each.value.table].id
  destination_cidr_block    = each.value.cidr
  transit_gateway_id        = each.value.transit_gateway_id
  vpc_peering_connection_id = each.value.vpc_peering_connection_id
}

# The public side: only with a client or NAT.

resource "aws_internet_gateway" "this" {
  count = local.has_gateway ? 1 : 0

  vpc_id = aws_vpc.this.id
  tags   = { Name = var.name }
}

resource "aws_route_table" "public" {
  count = local.has_gateway ? 1 : 0

  vpc_id = aws_vpc.this.id
  tags   = { Name = "${var.name}-public" }
}

resource "aws_route" "internet" {
  count = local.has_gateway ? 1 : 0

  route_table_id         = aws_route_table.public[0].id
  destination_cidr_block = "0.0.0.0/0"
  gateway_id             = aws_internet_gateway.this[0].id
}

resource "aws_subnet" "public" {
  count = var.public_subnet ? 1 : 0

  vpc_id            = aws_vpc.this.id
  cidr_block        = var.public_subnet_cidr
  availability_zone = local.zones[0]
  # The client asks for its address itself; nothing gets one by being here.
  map_public_ip_on_launch = false

  tags = { Name = "${var.name}-public" }
}

resource "aws_route_table_association" "public" {
  count = var.public_subnet ? 1 : 0

  subnet_id      = aws_subnet.public[0].id
  route_table_id = aws_route_table.public[0].id
}

resource "aws_subnet" "nat" {
  for_each = local.nat

  vpc_id                  = aws_vpc.this.id
  cidr_block              = each.value.cidr
  availability_zone       = each.value.zone
  map_public_ip_on_launch = false

  tags = { Name = "${var.name}-nat-${each.key}" }
}

resource "aws_route_table_association" "nat" {
  for_each = local.nat

  subnet_id      = aws_subnet.nat[each.key].id
  route_table_id = aws_route_table.public[0].id
}

resource "aws_eip" "nat" {
  for_each = local.nat

  domain = "vpc"
  tags   = { Name = "${var.name}-nat-${each.key}" }
}

resource "aws_nat_gateway" "this" {
  for_each = local.nat

  allocation_id = aws_eip.nat[each.key].id
  subnet_id     = aws_subnet.nat[each.key].id
  tags          = { Name = "${var.name}-${each.key}" }

  depends_on = [aws_route.internet]
}
