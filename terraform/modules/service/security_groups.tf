# What the tasks and the load balancer may reach, and who reaches them.
# Everything is stateful; nothing is open to 0.0.0.0/0 unless the caller of the
# root module has asked for it by name.

data "aws_ec2_managed_prefix_list" "gateway" {
  for_each = toset(["dynamodb", "s3"])

  name = "com.amazonaws.${local.region}.${each.key}"
}

# The load balancer has no inbound rule at all: only the VPC link comes in, for
# which the rules are not asked (load_balancer.tf).
resource "aws_security_group" "nlb" {
  name        = "${var.name}-nlb"
  description = "The load balancer between API Gateway and the tasks"
  vpc_id      = var.vpc_id
  tags        = { Name = "${var.name}-nlb" }
}

resource "aws_vpc_security_group_egress_rule" "nlb_to_tasks" {
  security_group_id            = aws_security_group.nlb.id
  description                  = "Requests and health checks to the tasks"
  ip_protocol                  = "tcp"
  from_port                    = local.port
  to_port                      = local.port
  referenced_security_group_id = aws_security_group.tasks.id
}

resource "aws_security_group" "tasks" {
  name        = "${var.name}-tasks"
  description = "The service's tasks"
  vpc_id      = var.vpc_id
  tags        = { Name = "${var.name}-tasks" }
}

# That API Gateway's headers can be trusted rests on this being the one way in.
resource "aws_vpc_security_group_ingress_rule" "tasks_from_nlb" {
  security_group_id            = aws_security_group.tasks.id
  description                  = "The API, from the load balancer"
  ip_protocol                  = "tcp"
  from_port                    = local.port
  to_port                      = local.port
  referenced_security_group_id = aws_security_group.nlb.id
}

resource "aws_vpc_security_group_ingress_rule" "metrics" {
  for_each = toset(var.metrics_client_cidrs)

  security_group_id = aws_security_group.tasks.id
  description       = "Metrics, from Prometheus"
  ip_protocol       = "tcp"
  from_port         = local.metrics_port
  to_port           = local.metrics_port
  cidr_ipv4         = each.value
}

resource "aws_vpc_security_group_egress_rule" "endpoints" {
  security_group_id            = aws_security_group.tasks.id
  description                  = "ECR, CloudWatch Logs and Secrets Manager, by their endpoints"
  ip_protocol                  = "tcp"
  from_port                    = 443
  to_port                      = 443
  referenced_security_group_id = var.endpoint_security_group_id
}

resource "aws_vpc_security_group_egress_rule" "gateway" {
  for_each = data.aws_ec2_managed_prefix_list.gateway

  security_group_id = aws_security_group.tasks.id
  description       = "${each.key}, by its gateway endpoint"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  prefix_list_id    = each.value.id
}

resource "aws_vpc_security_group_egress_rule" "relay" {
  for_each = { for pair in setproduct(var.relay_cidrs, var.relay_ports) : "${pair[0]}:${pair[1]}" => pair }

  security_group_id = aws_security_group.tasks.id
  description       = "Mail to a relay"
  ip_protocol       = "tcp"
  from_port         = each.value[1]
  to_port           = each.value[1]
  cidr_ipv4         = each.value[0]
}

resource "aws_vpc_security_group_egress_rule" "ses" {
  for_each = var.ses ? toset([for port in var.relay_ports : tostring(port)]) : []

  security_group_id            = aws_security_group.tasks.id
  description                  = "Mail to SES, by its endpoint"
  ip_protocol                  = "tcp"
  from_port                    = tonumber(each.value)
  to_port                      = tonumber(each.value)
  referenced_security_group_id = var.smtp_security_group_id
}
