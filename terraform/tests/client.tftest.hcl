# The client may be reached by Session Manager alone, unless SSH is asked for.

mock_provider "aws" {
  source = "./tests/mocks"
}

variables {
  name                     = "postern"
  vpc_id                   = "vpc-1"
  subnet_id                = "subnet-public"
  instance_type            = "t3.micro"
  architecture             = "x86_64"
  ami_id                   = null
  key_name                 = null
  ssh_cidrs                = []
  api_execution_arn        = "arn:aws-us-gov:execute-api:us-gov-west-1:123456789012:abc"
  kms_key_arn              = "arn:aws-us-gov:kms:us-gov-west-1:123456789012:key/k"
  permissions_boundary_arn = null
}

run "closed" {
  module { source = "./modules/client" }

  assert {
    condition     = length(aws_vpc_security_group_ingress_rule.ssh) == 0
    error_message = "The client has a way in that nobody asked for."
  }

  assert {
    condition     = aws_instance.this.metadata_options[0].http_tokens == "required" && aws_instance.this.root_block_device[0].encrypted && aws_instance.this.root_block_device[0].kms_key_id == var.kms_key_arn
    error_message = "The client takes IMDSv1, or its disk is not encrypted with our key."
  }

  assert {
    condition     = aws_iam_role_policy_attachment.session_manager.policy_arn == "arn:aws-us-gov:iam::aws:policy/AmazonSSMManagedInstanceCore" && jsondecode(aws_iam_role_policy.invoke.policy).Statement[0].Resource == "${var.api_execution_arn}/*"
    error_message = "The client may more than Session Manager and this API."
  }
}

run "ssh" {
  module { source = "./modules/client" }
  variables {
    ssh_cidrs = ["198.51.100.0/24"]
  }

  assert {
    condition     = keys(aws_vpc_security_group_ingress_rule.ssh) == ["198.51.100.0/24"] && aws_vpc_security_group_ingress_rule.ssh["198.51.100.0/24"].from_port == 22 && aws_vpc_security_group_ingress_rule.ssh["198.51.100.0/24"].to_port == 22
    error_message = "SSH is open to others, or more than SSH."
  }
}
