# Every door has a policy that names who may pass, and a security group that
# names who may knock.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  name                     = "postern"
  vpc_id                   = "vpc-1"
  private_subnet_ids       = ["subnet-1", "subnet-2"]
  private_route_table_ids  = ["rtb-1", "rtb-2"]
  task_security_group_id   = "sg-tasks"
  task_role_arn            = "arn:aws-us-gov:iam::123456789012:role/postern-task"
  execution_role_arn       = "arn:aws-us-gov:iam::123456789012:role/postern-execution"
  table_statements         = [{ Sid = "EmailWork", Effect = "Allow", Action = ["dynamodb:GetItem"], Resource = "arn:aws-us-gov:dynamodb:us-gov-west-1:123456789012:table/EmailWork" }]
  repository_arn           = "arn:aws-us-gov:ecr:us-gov-west-1:123456789012:repository/postern"
  task_log_group_arn       = "arn:aws-us-gov:logs:us-gov-west-1:123456789012:log-group:/postern/service"
  secret_arns              = ["arn:aws-us-gov:secretsmanager:us-gov-west-1:123456789012:secret:postern/encryption-key-??????"]
  task_secret_arns         = []
  api_execution_arn        = "arn:aws-us-gov:execute-api:us-gov-west-1:123456789012:abc"
  api_private_dns          = true
  api_client_cidrs         = ["10.30.0.0/16"]
  client                   = true
  client_security_group_id = "sg-client"
  ses                      = false
  relay_ports              = [587]
}

run "endpoints" {
  module { source = "./modules/endpoints" }

  assert {
    condition     = sort(keys(aws_vpc_endpoint.interface)) == tolist(["ecr.api", "ecr.dkr", "logs", "secretsmanager"]) && aws_vpc_endpoint.api.service_name == "com.amazonaws.us-gov-west-1.execute-api"
    error_message = "The interface endpoints are not those that Fargate and the API need."
  }

  assert {
    condition     = aws_vpc_endpoint.dynamodb.vpc_endpoint_type == "Gateway" && aws_vpc_endpoint.s3.vpc_endpoint_type == "Gateway" && aws_vpc_endpoint.dynamodb.route_table_ids == toset(["rtb-1", "rtb-2"])
    error_message = "DynamoDB and S3 are reached by gateway endpoints of both private route tables."
  }

  assert {
    condition     = length(aws_vpc_endpoint.smtp) == 0
    error_message = "There is an SMTP endpoint outside of mode ses."
  }
}

run "policies" {
  module { source = "./modules/endpoints" }

  # Each statement names its actions, and a role or a resource.
  assert {
    condition = alltrue([
      for policy in concat([for e in aws_vpc_endpoint.interface : e.policy], [aws_vpc_endpoint.dynamodb.policy, aws_vpc_endpoint.s3.policy, aws_vpc_endpoint_policy.api.policy]) :
      alltrue([for s in jsondecode(policy).Statement :
        s.Effect == "Allow" && !strcontains(jsonencode(s.Action), "*") && (flatten([s.Resource]) != ["*"] || can(s.Condition.ArnEquals["aws:PrincipalArn"]))
      ])
    ])
    error_message = "An endpoint's policy lets something pass that it does not name."
  }

  assert {
    condition     = jsondecode(aws_vpc_endpoint.dynamodb.policy).Statement[0].Condition.ArnEquals["aws:PrincipalArn"] == var.task_role_arn
    error_message = "Others than the service may use the tables' endpoint."
  }

  assert {
    condition     = jsondecode(aws_vpc_endpoint_policy.api.policy).Statement[0].Resource == "${var.api_execution_arn}/*"
    error_message = "Other APIs may be called through the endpoint."
  }

  assert {
    condition     = jsondecode(aws_vpc_endpoint.s3.policy).Statement[0].Resource == "arn:aws-us-gov:s3:::prod-us-gov-west-1-starport-layer-bucket/*"
    error_message = "More than image layers may be had from S3."
  }
}

run "what_the_service_reads" {
  module { source = "./modules/endpoints" }
  variables {
    task_secret_arns = ["arn:aws-us-gov:secretsmanager:us-gov-west-1:123456789012:secret:postern/api-tokens-??????"]
  }

  assert {
    condition = { for s in jsondecode(aws_vpc_endpoint.interface["secretsmanager"].policy).Statement : s.Condition.ArnEquals["aws:PrincipalArn"] => join(" ", s.Resource) } == {
      (var.execution_role_arn) = join(" ", var.secret_arns)
      (var.task_role_arn)      = join(" ", var.task_secret_arns)
    }
    error_message = "A role reads another one's secrets."
  }
}

run "who_may_knock" {
  module { source = "./modules/endpoints" }

  assert {
    condition     = aws_vpc_security_group_ingress_rule.tasks.referenced_security_group_id == "sg-tasks" && aws_vpc_security_group_ingress_rule.tasks.from_port == 443 && aws_vpc_security_group_ingress_rule.tasks.to_port == 443
    error_message = "Others than the tasks reach the AWS endpoints."
  }

  assert {
    condition     = aws_vpc_security_group_ingress_rule.api_client[0].referenced_security_group_id == "sg-client" && keys(aws_vpc_security_group_ingress_rule.api_network) == ["10.30.0.0/16"]
    error_message = "Others than the client and the networks that were named reach the API."
  }
}

run "without_client" {
  module { source = "./modules/endpoints" }
  variables {
    client                   = false
    client_security_group_id = null
    api_client_cidrs         = []
  }

  assert {
    condition     = length(aws_vpc_security_group_ingress_rule.api_client) + length(aws_vpc_security_group_ingress_rule.api_network) == 0
    error_message = "Somebody reaches the API whom nobody named."
  }
}

run "ses" {
  module { source = "./modules/endpoints" }
  variables {
    ses         = true
    relay_ports = [587, 465]
  }

  assert {
    condition     = aws_vpc_endpoint.smtp[0].service_name == "com.amazonaws.us-gov-west-1.email-smtp" && aws_vpc_endpoint.smtp[0].private_dns_enabled
    error_message = "SES is not reached by its own name."
  }

  assert {
    condition     = alltrue([for r in aws_vpc_security_group_ingress_rule.smtp : r.referenced_security_group_id == "sg-tasks" && r.from_port == r.to_port]) && keys(aws_vpc_security_group_ingress_rule.smtp) == ["465", "587"]
    error_message = "Others than the tasks, or on other ports, reach SES."
  }
}
