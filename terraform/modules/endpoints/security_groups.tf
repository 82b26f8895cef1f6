# Who reaches which endpoint. No group has a way out: endpoints answer, they do
# not call.

resource "aws_security_group" "tasks" {
  name        = "${var.name}-endpoints"
  description = "AWS endpoints that the tasks use"
  vpc_id      = var.vpc_id
  tags        = { Name = "${var.name}-endpoints" }
}

resource "aws_vpc_security_group_ingress_rule" "tasks" {
  security_group_id            = aws_security_group.tasks.id
  description                  = "HTTPS from the tasks"
  ip_protocol                  = "tcp"
  from_port                    = 443
  to_port                      = 443
  referenced_security_group_id = var.task_security_group_id
}

resource "aws_security_group" "api" {
  name        = "${var.name}-api"
  description = "The API's endpoint"
  vpc_id      = var.vpc_id
  tags        = { Name = "${var.name}-api" }
}

resource "aws_vpc_security_group_ingress_rule" "api_client" {
  count = var.client ? 1 : 0

  security_group_id            = aws_security_group.api.id
  description                  = "HTTPS from the client"
  ip_protocol                  = "tcp"
  from_port                    = 443
  to_port                      = 443
  referenced_security_group_id = var.client_security_group_id
}

resource "aws_vpc_security_group_ingress_rule" "api_network" {
  for_each = toset(var.api_client_cidrs)

  security_group_id = aws_security_group.api.id
  description       = "HTTPS from a network of callers"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  cidr_ipv4         = each.value
}

resource "aws_security_group" "smtp" {
  count = var.ses ? 1 : 0

  name        = "${var.name}-email-smtp"
  description = "SES by SMTP"
  vpc_id      = var.vpc_id
  tags        = { Name = "${var.name}-email-smtp" }
}

resource "aws_vpc_security_group_ingress_rule" "smtp" {
  for_each = var.ses ? toset([for port in var.relay_ports : tostring(port)]) : []

  security_group_id            = aws_security_group.smtp[0].id
  description                  = "SMTP from the tasks"
  ip_protocol                  = "tcp"
  from_port                    = tonumber(each.value)
  to_port                      = tonumber(each.value)
  referenced_security_group_id = var.task_security_group_id
}
