# Private subnets have no way to the internet but NAT, and that in mode nat only.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  name                     = "postern"
  vpc_cidr                 = "10.0.0.0/16"
  private_subnet_cidrs     = ["10.0.1.0/24", "10.0.3.0/24"]
  public_subnet            = false
  public_subnet_cidr       = "10.0.2.0/24"
  nat_gateways             = 0
  nat_subnet_cidrs         = ["10.0.4.0/28", "10.0.4.16/28"]
  availability_zones       = []
  relay_routes             = []
  log_retention_days       = 365
  kms_key_arn              = "arn:aws-us-gov:kms:us-gov-west-1:123456789012:key/k"
  permissions_boundary_arn = null
}

run "none" {
  module { source = "./modules/network" }

  assert {
    condition     = length(aws_internet_gateway.this) + length(aws_route_table.public) + length(aws_route.internet) + length(aws_subnet.public) == 0
    error_message = "There is a public side without a client and without NAT."
  }

  assert {
    condition     = length(aws_route.nat) + length(aws_route.relay) + length(aws_nat_gateway.this) + length(aws_eip.nat) == 0
    error_message = "The private subnets have a route out."
  }

  assert {
    condition     = [for s in aws_subnet.private : s.cidr_block] == ["10.0.1.0/24", "10.0.3.0/24"] && [for s in aws_subnet.private : s.availability_zone] == ["us-gov-west-1a", "us-gov-west-1b"]
    error_message = "The private subnets are not the two that were asked for, each in its zone."
  }

  assert {
    condition     = alltrue([for s in aws_subnet.private : !s.map_public_ip_on_launch])
    error_message = "A private subnet gives out public addresses."
  }

  assert {
    condition     = length(aws_default_route_table.this.route) == 0 && length(aws_default_security_group.this.ingress) + length(aws_default_security_group.this.egress) == 0
    error_message = "What comes with the VPC lets something through."
  }

  assert {
    condition     = aws_vpc.this.enable_dns_support && aws_vpc.this.enable_dns_hostnames
    error_message = "Private DNS of the endpoints needs both."
  }
}

run "flow_logs" {
  module { source = "./modules/network" }

  assert {
    condition     = aws_flow_log.this.traffic_type == "ALL" && aws_flow_log.this.vpc_id == aws_vpc.this.id
    error_message = "The flow logs do not have all of the VPC's traffic."
  }

  assert {
    condition     = aws_cloudwatch_log_group.flow.kms_key_id == var.kms_key_arn && aws_cloudwatch_log_group.flow.retention_in_days == 365
    error_message = "The flow logs are not encrypted with our key, or not kept as asked."
  }
}

run "client" {
  module { source = "./modules/network" }
  variables {
    public_subnet = true
  }

  assert {
    condition     = aws_subnet.public[0].cidr_block == "10.0.2.0/24" && aws_route_table_association.public[0].route_table_id == aws_route_table.public[0].id
    error_message = "The client's subnet is not the public one."
  }

  assert {
    condition     = alltrue([for a in aws_route_table_association.private : a.route_table_id != aws_route_table.public[0].id]) && length(aws_route.nat) == 0
    error_message = "The client's internet gateway reaches a private subnet."
  }

  assert {
    condition     = alltrue([for t in aws_route_table.private : aws_route.internet[0].route_table_id != t.id])
    error_message = "The route to the internet gateway is in a private route table."
  }
}

run "nat_one" {
  module { source = "./modules/network" }
  variables {
    nat_gateways = 1
  }

  assert {
    condition     = length(aws_nat_gateway.this) == 1 && length(aws_route.nat) == 2 && alltrue([for r in aws_route.nat : r.nat_gateway_id == aws_nat_gateway.this["0"].id])
    error_message = "Both private subnets leave by the one NAT gateway."
  }

  assert {
    condition     = alltrue([for r in aws_route.nat : r.gateway_id == null || r.gateway_id == ""]) && length(aws_subnet.public) == 0
    error_message = "NAT brought an internet gateway's route or a public subnet along."
  }
}

run "nat_each" {
  module { source = "./modules/network" }
  variables {
    nat_gateways = 2
  }

  assert {
    condition     = alltrue([for key, r in aws_route.nat : r.nat_gateway_id == aws_nat_gateway.this[key].id]) && length(aws_nat_gateway.this) == 2
    error_message = "Each private subnet leaves by its own zone's NAT gateway."
  }
}

run "relay_routes" {
  module { source = "./modules/network" }
  variables {
    relay_routes = [{ cidr = "10.20.0.0/16", transit_gateway_id = "tgw-1" }, { cidr = "10.21.0.0/16", vpc_peering_connection_id = "pcx-1" }]
  }

  assert {
    condition     = sort(keys(aws_route.relay)) == tolist(["0/10.20.0.0/16", "0/10.21.0.0/16", "1/10.20.0.0/16", "1/10.21.0.0/16"])
    error_message = "Each private subnet has each route."
  }
}
