# API Gateway's VPC link for REST APIs leads to a network load balancer and to
# nothing else in provider 5.100. Nobody reaches it but the link.

resource "aws_lb" "this" {
  name                       = var.name
  load_balancer_type         = "network"
  internal                   = true
  subnets                    = var.private_subnet_ids
  enable_deletion_protection = var.deletion_protection

  # A group must be there from the start: one cannot be added to a load
  # balancer that was made without. It has no inbound rule, and traffic of the
  # VPC link is exempt from inbound rules, so the link alone gets in.
  security_groups                                              = [aws_security_group.nlb.id]
  enforce_security_group_inbound_rules_on_private_link_traffic = "off"

  # A task in either zone serves both.
  enable_cross_zone_load_balancing = true
}

resource "aws_lb_target_group" "this" {
  name        = var.name
  vpc_id      = var.vpc_id
  target_type = "ip"
  # TCP also with task_tls: TLS ends at the task and not here.
  protocol = "TCP"
  port     = local.port
  # Longer than API Gateway waits for an answer (29 s), shorter than the
  # default of 300 s, which would only delay deployments.
  deregistration_delay = 60

  health_check {
    protocol = var.task_tls ? "HTTPS" : "HTTP"
    # Not /readyz: when DynamoDB is out of reach, replacing tasks mends nothing.
    path                = "/healthz"
    interval            = 10
    healthy_threshold   = 2
    unhealthy_threshold = 3
  }

  lifecycle {
    create_before_destroy = true
  }
}

resource "aws_lb_listener" "this" {
  load_balancer_arn = aws_lb.this.arn
  protocol          = "TCP"
  port              = local.port

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.this.arn
  }
}
