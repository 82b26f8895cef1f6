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

locals {
  # Without a certificate of its own the load balancer passes octets on, and TLS
  # ends at the task. With one, TLS ends here and begins again to the task, whose
  # certificate load balancers do not verify.
  protocol = var.certificate_arn == null ? "TCP" : "TLS"
}

resource "aws_lb_target_group" "this" {
  # The protocol cannot be changed, and two groups of one name cannot be.
  name        = local.protocol == "TCP" ? var.name : "${var.name}-tls"
  vpc_id      = var.vpc_id
  target_type = "ip"
  protocol    = local.protocol
  port        = local.port
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
  protocol          = local.protocol
  port              = local.port
  certificate_arn   = var.certificate_arn
  ssl_policy        = var.certificate_arn == null ? null : "ELBSecurityPolicy-TLS13-1-2-2021-06" # TLS 1.2 and 1.3

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.this.arn
  }
}
