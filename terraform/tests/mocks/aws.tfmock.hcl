# What stands for AWS in the tests. Mocked values are random text; what Terraform
# or the provider looks into gets its shape here.

mock_data "aws_partition" {
  defaults = { partition = "aws-us-gov", dns_suffix = "amazonaws.com" }
}

mock_data "aws_region" {
  defaults = { name = "us-gov-west-1" }
}

mock_data "aws_caller_identity" {
  defaults = { account_id = "123456789012" }
}

mock_data "aws_availability_zones" {
  defaults = { names = ["us-gov-west-1a", "us-gov-west-1b", "us-gov-west-1c"] }
}

mock_data "aws_ec2_managed_prefix_list" {
  defaults = { id = "pl-0123456789abcdef0" }
}

mock_data "aws_ssm_parameter" {
  defaults = { value = "ami-0123456789abcdef0" }
}

mock_resource "aws_kms_key" {
  defaults = { arn = "arn:aws-us-gov:kms:us-gov-west-1:123456789012:key/00000000-0000-0000-0000-000000000000" }
}

mock_resource "aws_iam_role" {
  defaults = { arn = "arn:aws-us-gov:iam::123456789012:role/mocked" }
}

mock_resource "aws_cloudwatch_log_group" {
  defaults = { arn = "arn:aws-us-gov:logs:us-gov-west-1:123456789012:log-group:mocked" }
}

mock_resource "aws_secretsmanager_secret" {
  defaults = { arn = "arn:aws-us-gov:secretsmanager:us-gov-west-1:123456789012:secret:mocked-AbCdEf" }
}

mock_resource "aws_ecr_repository" {
  defaults = { repository_url = "123456789012.dkr.ecr.us-gov-west-1.amazonaws.com/mocked" }
}

mock_resource "aws_lb" {
  defaults = {
    arn        = "arn:aws-us-gov:elasticloadbalancing:us-gov-west-1:123456789012:loadbalancer/net/mocked/0123456789abcdef"
    arn_suffix = "net/mocked/0123456789abcdef"
    dns_name   = "mocked.elb.us-gov-west-1.amazonaws.com"
  }
}

mock_resource "aws_lb_target_group" {
  defaults = {
    arn        = "arn:aws-us-gov:elasticloadbalancing:us-gov-west-1:123456789012:targetgroup/mocked/0123456789abcdef"
    arn_suffix = "targetgroup/mocked/0123456789abcdef"
  }
}

mock_resource "aws_ecs_cluster" {
  defaults = { id = "arn:aws-us-gov:ecs:us-gov-west-1:123456789012:cluster/mocked" }
}

mock_resource "aws_ecs_task_definition" {
  defaults = { arn = "arn:aws-us-gov:ecs:us-gov-west-1:123456789012:task-definition/mocked:1" }
}

mock_resource "aws_service_discovery_service" {
  defaults = { arn = "arn:aws-us-gov:servicediscovery:us-gov-west-1:123456789012:service/srv-mocked" }
}

mock_resource "aws_api_gateway_rest_api" {
  defaults = { execution_arn = "arn:aws-us-gov:execute-api:us-gov-west-1:123456789012:mocked" }
}

mock_resource "aws_sns_topic" {
  defaults = { arn = "arn:aws-us-gov:sns:us-gov-west-1:123456789012:mocked" }
}

mock_resource "aws_vpc_endpoint" {
  defaults = { id = "vpce-0123456789abcdef0" }
}
